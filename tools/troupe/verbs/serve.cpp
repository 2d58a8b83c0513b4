#include <memory>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/descriptor_limit.h>
#include <troupe/tools/troupe/fetch/found_models.h>
#include <troupe/tools/troupe/keep_streams.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/shared_prompts.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct ServeVerbOptions {
  CommonOptions common;
  std::string cluster, device;
  int threads = 0;
  std::vector<std::string> models, aliases, shared_prompts;
  std::string keep_streams = "10m";
  ServeOptions serve;
};

// Parses "NAME=MODEL", a served model and its name.
Result<ServedModel> parse_alias(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return Status(Code::kInvalidArgument,
                  "--alias is '" + text + "', expected NAME=MODEL such as chat=smollm2-135m");
  }
  return ServedModel{text.substr(equals + 1), text.substr(0, equals)};
}

// Returns the models as the server opens them: those on this machine, and each with its alias.
Result<std::vector<ServedModel>> served_models(const ServeVerbOptions& options, bool remote) {
  std::vector<ServedModel> served;
  for (const std::string& alias : options.aliases) {
    TROUPE_ASSIGN_OR_RETURN(ServedModel one, parse_alias(alias));
    served.push_back(std::move(one));
  }
  for (const std::string& name : options.models) {
    bool has_alias = false;
    for (const ServedModel& one : served) has_alias = has_alias || one.model == name;
    if (!has_alias) served.push_back({name, ""});
  }
  if (served.empty()) {
    return Status(Code::kInvalidArgument,
                  "MODEL is missing; `troupe serve --help` shows what it takes");
  }
  TROUPE_ASSIGN_OR_RETURN(const auto store, open_store(options.common.home));
  for (ServedModel& one : served) {
    // The names of other programs' files are often hashes.
    if (one.id.empty() && is_found_name(one.model)) one.id = one.model;
    TROUPE_ASSIGN_OR_RETURN(one.model,
                            prepare_model(*store, options.common.home, one.model, remote));
  }
  return served;
}

void announce(const HttpServer& server, bool json) {
  if (json) {
    print_json(
        {{"ready", {{"url", server.url()}, {"models", server.models()}, {"pid", ::getpid()}}}});
    return;
  }
  std::string ids;
  for (const std::string& id : server.models()) ids += (ids.empty() ? "" : ", ") + id;
  say("serving " + ids + " at " + server.url() + "/v1");
}

// Waits for the first signal. Then gives the open answers time to end, unless a second signal
// comes.
void serve_until_signal(HttpServer& server, SignalWatch& watch) {
  pollfd signal{watch.descriptor(), POLLIN, 0};
  while (watch.count() == 0) ::poll(&signal, 1, -1);
  say("shutting down: answers under way may end first; press Ctrl-C again to cut them off");
  server.shut_down([&watch] { return watch.count() > 1; });
}

int serve(ServeVerbOptions& options) {
  const bool json = options.common.json;
  set_up_logging(LogLevel::kInfo, options.common.verbose);
  raise_descriptor_limit();
  const Status kept = keep_streams(options.keep_streams, "--keep-streams", &options.serve);
  if (!kept) return fail(kept, json);
  // The files come first: a model may have to be fetched.
  Result<std::vector<SharedPrompt>> shared =
      read_shared_prompts(options.shared_prompts, "--shared-prompt");
  if (!shared) return fail(shared.status(), json);
  options.serve.shared_prompts = std::move(*shared);
  const Result<std::string> address = choose_cluster(options.common.home, options.cluster);
  if (!address) return fail(address.status(), json);
  Result<std::vector<ServedModel>> models = served_models(options, !address->empty());
  if (!models) return fail(models.status(), json);
  options.serve.models = *models;
  SignalWatch watch;
  watch.take_hang_up(nullptr);
  Result<OpenCluster> open =
      open_cluster(options.common.home, options.cluster, options.threads, options.device);
  if (!open) return fail(open.status(), json);
  Result<HttpServer> server = open->cluster.serve(options.serve);
  if (!server) return fail(server.status(), json);
  announce(*server, json);
  serve_until_signal(*server, watch);
  return kExitOk;
}

void add_server_options(CLI::App& app, ServeVerbOptions& options) {
  ServeOptions& serve = options.serve;
  app.add_option("--host", serve.host, "The address to listen on")->capture_default_str();
  app.add_option("--port", serve.port, "The port to listen on; 0 for any free one")
      ->capture_default_str()
      ->check(whole_number(0, 65535))
      ->type_name("N");
  app.add_option("--alias", options.aliases, "Serve MODEL under the id NAME; can be given again")
      ->allow_extra_args(false)
      ->type_name("NAME=MODEL");
  app.add_option("--api-key-file", serve.api_key_file,
                 "Require an API key from this file; `troupe key new --api` adds keys to it")
      ->type_name("FILE");
  app.add_option("--shared-prompt", options.shared_prompts,
                 "A system prompt that is not secret: compute it once for all keys; can be given "
                 "again")
      ->allow_extra_args(false)
      ->type_name("FILE");
  app.add_flag("--open", serve.open, "Listen beyond this machine without API keys");
  app.add_option("--allowed-host", serve.allowed_hosts,
                 "Answer to this Host as well; can be given again")
      ->allow_extra_args(false)
      ->type_name("NAME");
  app.add_option("--allowed-origin", serve.allowed_origins,
                 "Let pages of this origin use the server; can be given again")
      ->allow_extra_args(false)
      ->type_name("URL");
  app.add_option("--tls-cert", serve.tls_cert, "Speak HTTPS with this certificate chain (PEM)")
      ->type_name("FILE");
  app.add_option("--tls-key", serve.tls_key, "The private key of the certificate (PEM)")
      ->type_name("FILE");
  auto* const keep =
      app.add_option("--keep-streams", options.keep_streams,
                     "How long a client may continue a stream that ended or broke, even after this "
                     "server was killed and started again")
          ->capture_default_str()
          ->type_name("TIME");
  app.add_flag_callback(
         "--no-resume", [&options] { options.keep_streams = "0"; },
         "Forget a stream when its connection breaks, and write no prompt to the disk")
      ->excludes(keep);
  app.add_flag_callback(
      "--no-access-log", [&serve] { serve.access_log = false; },
      "Do not log a line for each request");
}

}  // namespace

Action add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeVerbOptions>();
  app.add_option(
         "MODEL", options->models,
         "Names, paths of GGUF files or folders, model:HEX or sha256:HEX; all of them are loaded")
      ->type_name("");
  add_server_options(app, *options);
  app.add_option("-t,--threads", options->threads, "Threads of this process [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_device_option(app, options->device);
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "Answers OpenAI's API below /v1 (docs/api.md) until Ctrl-C, SIGTERM or SIGHUP; answers\n"
      "under way may then finish. Without a cluster, the models are computed in this process.\n"
      "\n"
      "Examples:\n"
      "  troupe serve smollm2-135m\n"
      "  troupe serve --alias chat=./model.gguf --port 9000\n"
      "  troupe serve smollm2-135m --host 192.168.1.5 --api-key-file keys\n"
      "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "    -d '{\"model\": \"smollm2-135m\", \"messages\": [{\"role\": \"user\", \"content\": "
      "\"Hi\"}]}'");
  return [options] { return serve(*options); };
}

}  // namespace troupe::tools
