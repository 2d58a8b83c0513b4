#include <algorithm>
#include <utility>

#include <troupe/runtime/net/transport.h>
#include <troupe/tools/troupe/daemon/http_door.h>
#include <troupe/tools/troupe/models.h>

namespace troupe::tools {
namespace {

// Splits "a,b" into the models a and b.
Result<std::vector<ServedModel>> served_models(const std::string& list, const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const auto store, open_store(home));
  std::vector<ServedModel> models;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string name = list.substr(begin, end - begin);
    if (!name.empty()) {
      TROUPE_ASSIGN_OR_RETURN(const std::string model, prepare_model(*store, home, name, true));
      models.push_back({model, ""});
    }
    begin = end + 1;
  }
  return models;
}

}  // namespace

Status HttpDoor::check(const Settings& settings, bool head) {
  const bool http = settings.given("http");
  if (!http && (settings.given("http-models") || settings.given("http-api-key-file"))) {
    return Status(Code::kInvalidArgument,
                  "http-models and http-api-key-file are for a head that serves: give --http too");
  }
  if (!http) return Status::ok();
  if (!head) return Status(Code::kInvalidArgument, "only a head serves HTTP: --http needs --head");
  if (!settings.given("http-models")) {
    return Status(Code::kInvalidArgument, "--http needs the models to serve: --http-models MODEL");
  }
  const Result<net::Endpoint> where = net::parse_endpoint(settings.text("http"));
  return where ? Status::ok() : where.status().with_context("--http");
}

Result<std::unique_ptr<HttpDoor>> HttpDoor::open(const Settings& settings,
                                                 const std::string& home) {
  if (!settings.given("http")) return std::unique_ptr<HttpDoor>();
  TROUPE_ASSIGN_OR_RETURN(const net::Endpoint where, net::parse_endpoint(settings.text("http")));
  ServeOptions options;
  options.host = where.host;
  options.port = where.port;
  options.api_key_file = settings.text("http-api-key-file");
  TROUPE_ASSIGN_OR_RETURN(options.models, served_models(settings.text("http-models"), home));
  TROUPE_ASSIGN_OR_RETURN(const std::string address, daemon_address(home));
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({home, address}));
  TROUPE_ASSIGN_OR_RETURN(HttpServer server, cluster.serve(options));
  return std::unique_ptr<HttpDoor>(new HttpDoor(std::move(cluster), std::move(server)));
}

}  // namespace troupe::tools
