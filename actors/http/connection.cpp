#include <cstdio>
#include <ctime>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/connection.h>
#include <troupe/runtime/clock.h>

namespace troupe::http {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

// The number of bytes of later requests that are read while an answer is computed.
constexpr std::size_t kEarlyMax = 64 * 1024;
// How long a connection that is to be closed waits for the client to see the answer.
constexpr int kLingerMs = 2000;
constexpr int kSendBufferBytes = 64 * 1024;
constexpr int kClientLeft = 499;

// Returns "Sun, 29 Nov 2026 08:49:53 GMT", which is made once a second.
const std::string& http_date() {
  static thread_local std::time_t at = 0;
  static thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now == at) return text;
  at = now;
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char buffer[64];
  text.assign(buffer, std::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &utc));
  return text;
}

}  // namespace

Connection::Connection(const ConnectionHost& host, Tcp::socket socket,
                       std::shared_ptr<TlsContext> tls)
    : host_(host),
      socket_(std::move(socket)),
      tls_context_(std::move(tls)),
      timer_(socket_.get_executor()),
      reader_(host.limits) {
  ErrorCode ignored;
  const auto endpoint = socket_.remote_endpoint(ignored);
  if (!ignored) peer_ = endpoint.address().to_string();
  socket_.set_option(Tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), ignored);
  socket_.non_blocking(true, ignored);
  if (tls_context_) tls_.emplace(socket_, *tls_context_);
}

Connection::~Connection() {
  if (counted_) host_.on_closed();
}

void Connection::start() {
  wait(Waiting::kHeader, host_.limits.header_ms);
  if (!tls_) return read();
  tls_->async_handshake(asio::ssl::stream_base::server,
                        [self = shared_from_this()](const ErrorCode& error) {
                          if (error) return self->close();
                          self->read();
                        });
}

void Connection::start_refusing(Response response) {
  counted_ = false;
  host_.on_closed();
  close_after_ = true;
  phase_ = Phase::kAnswering;
  if (tls_) return close();  // a handshake would cost more than the answer is worth
  respond(std::move(response));
}

bool Connection::is_idle() const {
  return phase_ == Phase::kReading && reader_.state() == RequestReader::State::kIdle;
}

void Connection::read() {
  if (reading_ || phase_ == Phase::kClosed || early_.size() > kEarlyMax) return;
  reading_ = true;
  const auto done = [self = shared_from_this()](const ErrorCode& error, std::size_t bytes) {
    self->reading_ = false;
    self->on_read(error, bytes);
  };
  if (tls_) {
    tls_->async_read_some(asio::buffer(incoming_), done);
  } else {
    socket_.async_read_some(asio::buffer(incoming_), done);
  }
}

void Connection::on_read(const ErrorCode& error, std::size_t bytes) {
  if (phase_ == Phase::kClosed) return;
  if (error) return client_left();
  const std::string_view read_bytes(incoming_.data(), bytes);
  if (phase_ == Phase::kReading) {
    reader_.push(read_bytes);
    advance();
  } else if (phase_ == Phase::kAnswering) {
    early_ += read_bytes;
  }
  read();
}

void Connection::advance() {
  if (phase_ != Phase::kReading) return;
  using State = RequestReader::State;
  const State state = reader_.state();
  if (state == State::kBad) return refuse(reader_.error().status, reader_.error().message);
  if (state == State::kIdle) return;
  if (state == State::kHeader) {
    if (waiting_ != Waiting::kHeader) wait(Waiting::kHeader, host_.limits.header_ms);
    return;
  }
  if (!head_checked_ && !check_head()) return;
  if (state == State::kDone) return dispatch();
  if (waiting_ != Waiting::kBody) wait(Waiting::kBody, host_.limits.body_ms);
  if (exchange_->request.expects_continue && !continued_) {
    continued_ = true;
    send("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

// Refuses a request if that can be decided before its body is read.
bool Connection::check_head() {
  head_checked_ = true;
  exchange_ = std::make_shared<Exchange>();
  exchange_->request = reader_.head();
  exchange_->peer = peer_;
  exchange_->began_us = monotonic_us();
  std::optional<Response> refusal = host_.on_head(*exchange_);
  if (!refusal && reader_.state() == RequestReader::State::kBody) {
    // A body that comes in chunks counts as the largest body that is allowed.
    const std::size_t length = exchange_->request.count("Content-Length") > 0
                                   ? reader_.body_bytes()
                                   : host_.limits.body_bytes;
    if (host_.reserve(static_cast<std::ptrdiff_t>(length))) {
      reserved_ = length;
    } else {
      refusal = error_response(
          overloaded("the server reads as many large requests as it may; try again later", 1));
    }
  }
  if (!refusal) return true;
  // The bytes after a body that was not read cannot be told apart from it.
  close_after_ = close_after_ || reader_.state() != RequestReader::State::kDone ||
                 !exchange_->request.keep_alive;
  if (!close_after_) static_cast<void>(reader_.take());
  phase_ = Phase::kAnswering;
  respond(std::move(*refusal));
  return false;
}

void Connection::dispatch() {
  phase_ = Phase::kAnswering;
  wait(Waiting::kNothing, 0);
  Request request = reader_.take();
  close_after_ = close_after_ || !request.keep_alive;
  exchange_->request = std::move(request);
  exchange_->responder = shared_from_this();
  host_.on_request(exchange_);
}

// Refuses bytes that are not a request: nothing after them can be trusted.
void Connection::refuse(int status, const std::string& message) {
  ApiError error;
  error.status = status;
  error.message = message;
  if (status >= 500) error.type = "server_error";
  close_after_ = true;
  phase_ = Phase::kAnswering;
  if (!exchange_) {
    exchange_ = std::make_shared<Exchange>();
    exchange_->peer = peer_;
    exchange_->began_us = monotonic_us();
  }
  respond(error_response(error));
}

std::string Connection::head_of(const Response& response, bool chunked) const {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head += reason_phrase(response.status);
  head += "\r\nDate: " + http_date() + "\r\n";
  if (response.status != 204) head += "Content-Type: " + response.content_type + "\r\n";
  if (chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (!events_ && response.status != 204) {
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  for (const Header& field : response.headers) head += field.name + ": " + field.value + "\r\n";
  if (exchange_) {
    for (const Header& field : exchange_->headers) head += field.name + ": " + field.value + "\r\n";
    if (!exchange_->request_id.empty()) {
      head += "X-Request-Id: " + exchange_->request_id + "\r\n";
    }
  }
  head += "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n";
  head += close_after_ ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n";
  return head;
}

void Connection::respond(Response response) {
  if (phase_ != Phase::kAnswering || status_ != 0) return;
  status_ = response.status;
  complete_ = true;
  std::string bytes = head_of(response, false);
  if (!exchange_ || exchange_->request.method != "HEAD") bytes += response.body;
  send(std::move(bytes));
}

void Connection::begin_events(const std::vector<Header>& headers) {
  if (phase_ != Phase::kAnswering || status_ != 0) return;
  status_ = 200;
  events_ = true;
  chunked_ = exchange_->request.version == 11;
  if (!chunked_) close_after_ = true;
  Response response;
  response.content_type = "text/event-stream; charset=utf-8";
  response.headers = headers;
  // Proxies must hand events on as they come.
  response.headers.push_back({"X-Accel-Buffering", "no"});
  send(head_of(response, chunked_));
}

void Connection::write_events(std::string_view events) {
  if (phase_ != Phase::kAnswering || !events_ || complete_ || events.empty()) return;
  // A single piece may be larger: the whole stream, for a client that takes it up again, or the
  // log-probabilities of a prompt. A client gets the time to read it.
  if (unsent() == 0) large_bytes_ = 0;
  if (unsent() > host_.limits.stream_buffer_bytes + large_bytes_) return cut();
  if (events.size() > host_.limits.stream_buffer_bytes) large_bytes_ += events.size();
  if (!chunked_) return send(std::string(events));
  char size[32];
  const int digits = std::snprintf(size, sizeof size, "%zx\r\n", events.size());
  std::string chunk;
  chunk.reserve(events.size() + 24);
  chunk.append(size, static_cast<std::size_t>(digits));
  chunk += events;
  chunk += "\r\n";
  send(std::move(chunk));
}

void Connection::end_events() {
  if (phase_ != Phase::kAnswering || !events_ || complete_) return;
  complete_ = true;
  send(chunked_ ? "0\r\n\r\n" : "");
}

void Connection::cut() {
  if (phase_ == Phase::kClosed) return;
  ErrorCode ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  client_left();
}

void Connection::on_gone(std::function<void()> gone) { gone_ = std::move(gone); }

void Connection::send(std::string bytes) {
  answer_bytes_ += bytes.size();
  pending_ += bytes;
  if (!writing_) write_some();
}

// Writes without a timer and a turn of the event loop, which suffices for most events of a stream.
// Returns false if something is left or the write failed; that takes the usual path.
bool Connection::write_at_once() {
  if (tls_ || complete_ || phase_ != Phase::kAnswering) return false;
  ErrorCode error;
  sent_ +=
      socket_.write_some(asio::buffer(sending_.data() + sent_, sending_.size() - sent_), error);
  return !error && sent_ == sending_.size();
}

void Connection::write_some() {
  if (sent_ == sending_.size()) {
    sending_.swap(pending_);
    pending_.clear();
    sent_ = 0;
  }
  if (sending_.empty()) {
    if (complete_) all_written();
    return;
  }
  if (write_at_once()) return;
  writing_ = true;
  // While an answer is sent, only the write has a deadline of its own.
  if (phase_ != Phase::kReading) wait(Waiting::kWrite, host_.limits.write_ms);
  const auto done = [self = shared_from_this()](const ErrorCode& error, std::size_t bytes) {
    self->writing_ = false;
    self->on_written(error, bytes);
  };
  const auto buffer = asio::buffer(sending_.data() + sent_, sending_.size() - sent_);
  if (tls_) {
    tls_->async_write_some(buffer, done);
  } else {
    socket_.async_write_some(buffer, done);
  }
}

void Connection::on_written(const ErrorCode& error, std::size_t bytes) {
  if (phase_ == Phase::kClosed) return;
  if (error) return client_left();
  sent_ += bytes;
  if (phase_ != Phase::kReading) wait(Waiting::kNothing, 0);
  write_some();
}

void Connection::all_written() {
  end_exchange(status_);
  if (close_after_) return linger();
  phase_ = Phase::kReading;
  wait(Waiting::kIdle, host_.limits.idle_ms);
  if (!early_.empty()) {
    reader_.push(early_);
    early_.clear();
  }
  // The whole next request may have come with the one before.
  advance();
  read();
}

// Waits before closing. Closing at once could destroy the answer on its way, so the client gets a
// moment to read it.
void Connection::linger() {
  phase_ = Phase::kLingering;
  wait(Waiting::kLinger, kLingerMs);
  if (tls_) {
    tls_->async_shutdown([self = shared_from_this()](const ErrorCode&) { self->close(); });
    return;
  }
  ErrorCode ignored;
  socket_.shutdown(Tcp::socket::shutdown_send, ignored);
  read();
}

void Connection::client_left() {
  if (phase_ == Phase::kClosed) return;
  const std::function<void()> gone = std::move(gone_);
  gone_ = {};
  if (exchange_ && phase_ == Phase::kAnswering) end_exchange(kClientLeft);
  close();
  if (gone) gone();
}

void Connection::end_exchange(int status) {
  release_body();
  if (exchange_) host_.on_end(*exchange_, status, answer_bytes_);
  exchange_.reset();
  gone_ = {};
  status_ = 0;
  answer_bytes_ = 0;
  head_checked_ = continued_ = events_ = chunked_ = complete_ = false;
}

void Connection::release_body() {
  if (reserved_ > 0) static_cast<void>(host_.reserve(-static_cast<std::ptrdiff_t>(reserved_)));
  reserved_ = 0;
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  release_body();
  ErrorCode ignored;
  timer_.cancel(ignored);
  socket_.close(ignored);
  exchange_.reset();  // the exchange holds this connection
  gone_ = {};
}

void Connection::wait(Waiting what, int ms) {
  waiting_ = what;
  ErrorCode ignored;
  if (what == Waiting::kNothing) {
    timer_.cancel(ignored);
    return;
  }
  timer_.expires_after(std::chrono::milliseconds(ms));
  timer_.async_wait([weak = weak_from_this(), what](const ErrorCode& error) {
    const auto self = weak.lock();
    if (error || !self || self->waiting_ != what) return;
    if (self->timer_.expiry() > std::chrono::steady_clock::now()) return;  // set anew meanwhile
    self->timed_out();
  });
}

void Connection::timed_out() {
  const bool reading = waiting_ == Waiting::kHeader || waiting_ == Waiting::kBody;
  const bool begun = reader_.state() != RequestReader::State::kIdle;
  if (reading && begun && phase_ == Phase::kReading) {
    return refuse(408, "the request was not complete in time");
  }
  if (waiting_ == Waiting::kWrite) return cut();
  close();
}

}  // namespace troupe::http
