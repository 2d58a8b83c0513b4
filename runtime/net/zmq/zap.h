#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include <troupe/runtime/net/allow_list.h>
#include <troupe/runtime/net/counters.h>
#include <troupe/runtime/net/key_pace.h>
#include <troupe/runtime/net/zmq/socket.h>

// ZeroMQ's authentication protocol (RFC 27), which asks the allow-list once for each handshake. A
// key that is not listed is refused for good (400). One that opens connections faster than its pace
// allows waits within its handshake, a second at most, and is then turned away for a while (300),
// which ends the attempt without being a refusal. Transport thread only.

namespace troupe::net::zmq {

constexpr const char* kZapDomain = "troupe";

class ZapServer {
 public:
  // Called before any CURVE server socket of the context binds.
  static Result<ZapServer> open(const Context& context);
  // Answers questions. The User-Id of an accepted connection is its key as Z85, '~', and a number
  // that no other connection of this process has.
  bool serve(const AllowList& allowed, AtomicCounters& counters, std::int64_t now_us);
  // Answers the questions that waited and may pass now, or have waited long enough.
  void answer_due(std::int64_t now_us);
  // Returns when answer_due() has something to do; absent if never.
  std::optional<std::int64_t> due_us() const;
  int fd() const { return socket_.fd(); }

 private:
  struct Question {
    std::string route, request;  // the way back to the session that asks
    PublicKey key{};
    Pace pace;
    std::int64_t until_us = 0;
  };
  // Reads one question. Returns false if there is none.
  bool read(Question* question, std::string* address, bool* sound);
  void answer(const Question& question, std::string_view status);
  // Logs the line, unless another one was logged within the last second.
  void warn(std::int64_t now_us, const std::string& line);

  Socket socket_;
  KeyPace pace_;
  std::deque<Question> held_;  // in the order in which they came
  std::int64_t look_us_ = 0;   // when the held questions are checked again
  std::uint64_t connections_ = 0;
  std::int64_t logged_us_ = 0;
};

}  // namespace troupe::net::zmq
