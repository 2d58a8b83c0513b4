#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <troupe/actors/http/message.h>
#include <troupe/actors/troupe/serve.h>

// Turns the bytes of one connection into HTTP/1.1 requests. Boost.Beast parses; whatever it lets
// pass although servers and proxies could understand it differently (bare line feeds, folded lines,
// two lengths) is refused here. Pure: it has no socket and no clock. An object has one owner.

namespace troupe::http {

// Why a request cannot be read. The connection must be closed after the answer.
struct ReadError {
  int status = 400;
  std::string message;  // a sentence for a person
};

class RequestReader {
 public:
  explicit RequestReader(const ServeLimits& limits);
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;

  enum class State {
    kIdle,    // nothing of a request has come
    kHeader,  // a part of its header has come
    kBody,    // the header is complete: head() is valid
    kDone,    // the request is complete: take() gives it
    kBad,     // error() says why; nothing more is read
  };
  State state() const;
  // Adds bytes. A request that follows the complete one stays unread until take().
  void push(std::string_view bytes);
  // Returns the request without its body. Valid from kBody on.
  const Request& head() const;
  // Returns the number of bytes that the body has, or will have if the header says so; for limits.
  std::size_t body_bytes() const;
  const ReadError& error() const;
  // Returns the complete request, and begins with the next one, which may be complete, too.
  Request take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace troupe::http
