#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/cluster_view.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/logging.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string cluster;
};

int show(const Options& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  Result<nlohmann::json> status = fetch_status(options.common.home, options.cluster);
  if (!status) return fail(status.status(), options.common.json);
  if (options.common.json) {
    print_json(*status);
    return kExitOk;
  }
  std::printf("cluster %s, answered by its %s\n\n", text_of(*status, "cluster").c_str(),
              text_of(*status, "role").c_str());
  print_nodes(*status);
  std::printf("\n");
  print_deployments(*status);
  if (options.common.verbose > 0) {
    std::printf("\n");
    print_counters(*status);
  }
  return kExitOk;
}

}  // namespace

Action add_status(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common);
  add_cluster_option(app, options->cluster);
  app.footer(
      "Examples:\n"
      "  troupe status             nodes with their layers, and what is loaded\n"
      "  troupe status -v          with the counters of the wire\n"
      "  troupe status --json      {\"role\",\"cluster\",\"nodes\",\"deployments\",\"counters\"}");
  return [options] { return show(*options); };
}

}  // namespace troupe::tools
