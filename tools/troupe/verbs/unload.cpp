#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

struct UnloadOptions {
  CommonOptions common;
  std::string model, cluster;
  bool force = false;
};

Result<UnloadedModel> ask(const UnloadOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(options.common.home, options.cluster));
  return cluster.unload(options.model, options.force);
}

int unload(const UnloadOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<UnloadedModel> answer = ask(options);
  if (!answer) return fail(answer.status(), options.common.json);
  if (options.common.json) {
    print_json(to_json(*answer));
  } else {
    std::printf("unloaded %s\n", answer->name.c_str());
  }
  return kExitOk;
}

}  // namespace

Action add_unload(CLI::App& app) {
  auto options = std::make_shared<UnloadOptions>();
  add_model_argument(app, options->model);
  app.add_flag("--force", options->force, "Unload it even if it is in use: its requests end");
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "A model is unloaded automatically if nobody has used it for the head's --keep-alive.\n"
      "\n"
      "Examples:\n"
      "  troupe unload smollm2-135m\n"
      "  troupe unload smollm2-135m --force     even if requests are under way");
  return [options] { return unload(*options); };
}

}  // namespace troupe::tools
