#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <troupe/actors/troupe.h>
#include <troupe/actors/troupe/serve.h>

// The HTTP server of a Cluster: its thread, its listener, its pool and its gateway. HttpServer is
// the handle that programs see.

namespace troupe::http {

class Server {
 public:
  // Listens, then loads the models, and is ready when it returns; /health answers before.
  //   Errors: kInvalidArgument (options that do not fit), kAlreadyExists (the port is in use),
  //   those of ApiKeys::load, read_card and Gateway::open; kResourceExhausted (more models than
  //   fit).
  static Result<std::unique_ptr<Server>> start(Cluster& cluster, const ServeOptions& options);
  ~Server();

  std::uint16_t port() const;
  std::string url() const;
  std::vector<std::string> models() const;
  void shut_down(const std::function<bool()>& hurry);

 private:
  Server();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace troupe::http
