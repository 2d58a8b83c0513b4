#pragma once

#include <memory>

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/daemon/settings.h>

// The HTTP server of a head, for `troupe start --http HOST:PORT --http-models MODEL,...`. It is a
// client of the daemon in its own process.

namespace troupe::tools {

class HttpDoor {
 public:
  // Starts the server; returns null if the settings ask for none. `home` is that of the daemon,
  // which must be ready.
  //   Errors: kInvalidArgument (settings that do not fit), those of Cluster::serve.
  static Result<std::unique_ptr<HttpDoor>> open(const Settings& settings, const std::string& home);
  // Checks the settings as open() does, before anything is started.
  static Status check(const Settings& settings, bool head);

  std::string url() const { return server_.url(); }
  // Lets the answers that are under way end (for up to half a minute).
  void shut_down() { server_.shut_down(); }

 private:
  HttpDoor(Cluster cluster, HttpServer server)
      : cluster_(std::move(cluster)), server_(std::move(server)) {}
  Cluster cluster_;
  HttpServer server_;  // ends before the cluster
};

}  // namespace troupe::tools
