#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/net/transport.h>
#include <troupe/tools/troupe/daemon/http_door.h>
#include <troupe/tools/troupe/descriptor_limit.h>
#include <troupe/tools/troupe/keep_streams.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/shared_prompts.h>

namespace troupe::tools {
namespace {

// The settings that mean something only with `--http`.
constexpr const char* kForServers[] = {"http-models", "http-api-key-file", "http-shared-prompts",
                                       "http-keep-streams"};

// Returns the models of "a,b".
Result<std::vector<ServedModel>> served_models(const std::string& list, const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const auto store, open_store(home));
  std::vector<ServedModel> models;
  for (const std::string& name : split_list(list)) {
    TROUPE_ASSIGN_OR_RETURN(const std::string model, prepare_model(*store, home, name, true));
    models.push_back({model, ""});
  }
  return models;
}

Result<std::vector<SharedPrompt>> shared_prompts(const Settings& settings) {
  if (!settings.given("http-shared-prompts")) return std::vector<SharedPrompt>();
  return read_shared_prompts(split_list(settings.text("http-shared-prompts")),
                             "--http-shared-prompts");
}

}  // namespace

Status HttpDoor::check(const Settings& settings, bool head) {
  const bool http = settings.given("http");
  for (const char* setting : kForServers) {
    if (http || !settings.given(setting)) continue;
    return Status(Code::kInvalidArgument,
                  std::string(setting) + " is for a head that serves: give --http too");
  }
  if (!http) return Status::ok();
  if (!head) return Status(Code::kInvalidArgument, "only a head serves HTTP: --http needs --head");
  if (!settings.given("http-models")) {
    return Status(Code::kInvalidArgument, "--http needs the models to serve: --http-models MODEL");
  }
  const auto shared = shared_prompts(settings);
  if (!shared) return shared.status();
  ServeOptions kept;
  TROUPE_RETURN_IF_ERROR(
      keep_streams(settings.text("http-keep-streams"), "--http-keep-streams", &kept));
  const Result<net::Endpoint> where = net::parse_endpoint(settings.text("http"));
  return where ? Status::ok() : where.status().with_context("--http");
}

Result<std::unique_ptr<HttpDoor>> HttpDoor::open(const Settings& settings,
                                                 const std::string& home) {
  if (!settings.given("http")) return std::unique_ptr<HttpDoor>();
  raise_descriptor_limit();
  TROUPE_ASSIGN_OR_RETURN(const net::Endpoint where, net::parse_endpoint(settings.text("http")));
  ServeOptions options;
  options.host = where.host;
  options.port = where.port;
  options.api_key_file = settings.text("http-api-key-file");
  TROUPE_RETURN_IF_ERROR(
      keep_streams(settings.text("http-keep-streams"), "--http-keep-streams", &options));
  TROUPE_ASSIGN_OR_RETURN(options.shared_prompts, shared_prompts(settings));
  TROUPE_ASSIGN_OR_RETURN(options.models, served_models(settings.text("http-models"), home));
  TROUPE_ASSIGN_OR_RETURN(const std::string address, daemon_address(home));
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({home, address}));
  TROUPE_ASSIGN_OR_RETURN(HttpServer server, cluster.serve(options));
  return std::unique_ptr<HttpDoor>(new HttpDoor(std::move(cluster), std::move(server)));
}

}  // namespace troupe::tools
