#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/cluster_view.h>
#include <troupe/tools/troupe/logging.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {

Action add_nodes(CLI::App& app) {
  struct Options {
    CommonOptions common;
    std::string cluster;
  };
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common);
  add_cluster_option(app, options->cluster);
  app.footer(
      "Examples:\n"
      "  troupe nodes --cluster 127.0.0.1:7700\n"
      "  troupe nodes --json       {\"nodes\":[{\"name\",\"address\",\"state\",\"layers\",...}]}");
  return [options] {
    set_up_logging(LogLevel::kWarning, options->common.verbose);
    Result<nlohmann::json> status = fetch_status(options->common.home, options->cluster);
    if (!status) return fail(status.status(), options->common.json);
    if (options->common.json) {
      print_json({{"nodes", list_of(*status, "nodes")}});
    } else {
      print_nodes(*status);
    }
    return kExitOk;
  };
}

}  // namespace troupe::tools
