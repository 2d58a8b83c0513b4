#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>

#include <troupe/actors/http/exchange.h>
#include <troupe/actors/http/request_reader.h>
#include <troupe/actors/http/tls.h>
#include <troupe/actors/troupe/serve.h>

// One connection: reads requests within deadlines and bounds, hands them over one after the other,
// and writes the answers. It keeps reading while an answer is computed, so that a client that goes
// away is noticed. Lives on the HTTP thread.

namespace troupe::http {

// What a connection needs from its server.
struct ConnectionHost {
  ServeLimits limits;
  // Called when a header is complete: fills in the exchange, or returns the answer that refuses it
  // before its body is read.
  std::function<std::optional<Response>(Exchange&)> on_head;
  // Called when the request is complete: it is answered through exchange->responder.
  std::function<void(const ExchangePtr&)> on_request;
  // Called when an answer has ended. `status` 499 means that the client went away, or was cut off,
  // before the answer was complete.
  std::function<void(const Exchange&, int status, std::size_t bytes)> on_end;
  std::function<void()> on_closed;
  // Adds to the bytes of bodies that are being read; false if there would be too many.
  std::function<bool(std::ptrdiff_t bytes)> reserve;
};

class Connection : public Responder, public std::enable_shared_from_this<Connection> {
 public:
  using Tcp = boost::asio::ip::tcp;
  // `host` must outlive the connection; a null `tls` is plain HTTP.
  Connection(const ConnectionHost& host, Tcp::socket socket, std::shared_ptr<TlsContext> tls);
  ~Connection() override;

  void start();
  // Answers with `response`, without reading a request, and closes.
  void start_refusing(Response response);
  // Ends the connection now; a request under way is lost.
  void close();
  // True if no request is under way or being read.
  bool is_idle() const;
  bool is_open() const { return phase_ != Phase::kClosed; }

  void respond(Response response) override;
  void begin_events(const std::vector<Header>& headers) override;
  void write_events(std::string_view events) override;
  void end_events() override;
  void release_body() override;
  void cut() override;
  void on_gone(std::function<void()> gone) override;

 private:
  enum class Phase { kReading, kAnswering, kLingering, kClosed };
  enum class Waiting { kNothing, kIdle, kHeader, kBody, kWrite, kLinger };

  void read();
  void on_read(const boost::system::error_code& error, std::size_t bytes);
  void advance();
  bool check_head();
  void dispatch();
  void refuse(int status, const std::string& message);
  void send(std::string bytes);
  void write_some();
  bool write_at_once();
  void on_written(const boost::system::error_code& error, std::size_t bytes);
  void all_written();
  void linger();
  void wait(Waiting what, int ms);
  void timed_out();
  void client_left();
  void end_exchange(int status);
  std::string head_of(const Response& response, bool chunked) const;
  std::size_t unsent() const { return sending_.size() - sent_ + pending_.size(); }

  const ConnectionHost& host_;
  Tcp::socket socket_;
  std::shared_ptr<TlsContext> tls_context_;
  std::optional<boost::asio::ssl::stream<Tcp::socket&>> tls_;
  boost::asio::steady_timer timer_;
  std::string peer_;
  RequestReader reader_;
  std::array<char, 4096> incoming_{};
  std::string early_;  // bytes of later requests, which came while an answer was computed
  Phase phase_ = Phase::kReading;
  Waiting waiting_ = Waiting::kNothing;
  ExchangePtr exchange_;
  std::function<void()> gone_;
  std::string pending_, sending_;
  std::size_t sent_ = 0;          // of sending_
  std::size_t large_bytes_ = 0;   // of large pieces that may be unsent
  std::size_t answer_bytes_ = 0;  // written for the exchange
  std::size_t reserved_ = 0;      // bytes of the body
  int status_ = 0;                // of the answer
  bool reading_ = false, writing_ = false;
  bool head_checked_ = false, continued_ = false;
  bool events_ = false, chunked_ = false, complete_ = false;
  bool close_after_ = false;
  bool counted_ = true;  // this connection counts among those that the server may have
};

}  // namespace troupe::http
