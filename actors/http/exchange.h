#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/actors/http/message.h>

// One request on its way through the server, and how it is answered. Everything here happens on
// the server's HTTP thread.

namespace troupe::http {

// A connection, as an endpoint sees it: it answers once, with a response or with events.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void respond(Response response) = 0;
  // Sends the head of a stream of server-sent events, with status 200.
  virtual void begin_events(const std::vector<Header>& headers) = 0;
  // Sends whole events. Does nothing if the connection is gone.
  virtual void write_events(std::string_view events) = 0;
  // Ends the stream, which is complete.
  virtual void end_events() = 0;
  // Says that the request's body is no longer held, so that others may be read.
  virtual void release_body() = 0;
  // Closes the connection, so that the client sees that the answer is not complete.
  virtual void cut() = 0;
  // `gone` is called once if the client goes away, or is cut off, before the answer is complete. An
  // empty function replaces the earlier one.
  virtual void on_gone(std::function<void()> gone) = 0;
};

struct Route;  // routes.h

struct Exchange {
  Request request;
  const Route* route = nullptr;
  std::string peer;          // the client's address
  std::string key;           // the name of its API key; "" if the server asks for none
  std::uint32_t weight = 1;  // the weight of the key (api_keys.h) with which an answer is computed
  std::int32_t priority_least = -9;
  std::string request_id;       // given by the client, or drawn
  std::vector<Header> headers;  // that every answer gets
  std::shared_ptr<Responder> responder;
  std::int64_t began_us = 0;
};
using ExchangePtr = std::shared_ptr<Exchange>;

}  // namespace troupe::http
