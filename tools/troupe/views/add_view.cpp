#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/views/add_view.h>
#include <troupe/tools/troupe/views/watch.h>

namespace troupe::tools {
namespace {

Result<ClusterStatus> fetch_status(const std::string& home, const std::string& cluster_flag) {
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(home, cluster_flag));
  return cluster.status();
}

}  // namespace

Action add_view(CLI::App& app, View view) {
  struct Options {
    CommonOptions common;
    std::string cluster;
    bool watch = false;
    double interval_s = 1;
  };
  auto options = std::make_shared<Options>();
  add_common_options(app, options->common);
  add_cluster_option(app, options->cluster);
  if (view.watchable) {
    app.add_flag("--watch", options->watch, "Show it repeatedly, until Ctrl-C");
    app.add_option("--interval", options->interval_s, "Seconds between two displays [1]")
        ->check(CLI::Range(0.1, 3600.0))
        ->type_name("S");
  }
  app.footer(view.footer);
  return [options, view = std::move(view)] {
    const CommonOptions& common = options->common;
    set_up_logging(LogLevel::kWarning, common.verbose);
    if (options->watch) {
      return watch_status({common.home, options->cluster, options->interval_s, common.json});
    }
    const Result<ClusterStatus> status = fetch_status(common.home, options->cluster);
    if (!status) return fail(status.status(), common.json);
    if (common.json) {
      print_json(view.json(*status));
    } else {
      view.print(*status, common.verbose > 0);
    }
    return kExitOk;
  };
}

}  // namespace troupe::tools
