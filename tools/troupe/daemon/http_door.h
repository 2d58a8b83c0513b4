#pragma once

#include <memory>

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/daemon/settings.h>

// The HTTP server of a head: `troupe start --http HOST:PORT --http-models MODEL,...`. It is a
// client of the daemon in its own process.

namespace troupe::tools {

class HttpDoor {
 public:
  // Null if the settings ask for none. `home` is the daemon's, which must be ready.
  //   Errors: kInvalidArgument (settings that do not fit), those of Cluster::serve.
  static Result<std::unique_ptr<HttpDoor>> open(const Settings& settings, const std::string& home);
  // The same checks of settings, before anything is started.
  static Status check(const Settings& settings, bool head);

  std::string url() const { return server_.url(); }
  // Lets the answers that are under way end (half a minute).
  void shut_down() { server_.shut_down(); }

 private:
  HttpDoor(Cluster cluster, HttpServer server)
      : cluster_(std::move(cluster)), server_(std::move(server)) {}
  Cluster cluster_;
  HttpServer server_;  // ends before the cluster
};

}  // namespace troupe::tools
