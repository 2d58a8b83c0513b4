#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct StopOptions {
  CommonOptions common;
  std::string cluster;
  bool all = false;
};

constexpr auto kPatience = std::chrono::seconds(10);

// Waits until the daemon has removed its run file, which is the last thing that it does.
bool wait_until_gone(const std::string& home) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (daemon_address(home).is_ok()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

Status stop_at(const std::string& home, const std::string& address, bool all) {
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({home, address}));
  say("stopping " + cluster.description());
  return cluster.stop(all);
}

int stop(const StopOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const std::string& home = options.common.home;
  const Result<std::string> own = daemon_address(home);
  const std::string address = options.cluster.empty() && own ? *own : options.cluster;
  if (address.empty()) return fail(own.status(), options.common.json);
  // This home's daemon may be a node, to which clients cannot connect; so it is ended by its
  // process id.
  const bool by_process = options.cluster.empty() && !options.all;
  const Status stopped = by_process ? stop_daemon(home) : stop_at(home, address, options.all);
  if (!stopped) return fail(stopped, options.common.json);
  if (own && address == *own && options.all && !wait_until_gone(home)) {
    return fail(Status(Code::kDeadlineExceeded,
                       "the daemon of the home " + resolve_home(home) +
                           " took the request but still runs after 10 s; end it with kill"),
                options.common.json);
  }
  const std::string what = by_process
                               ? "the daemon of the home " + resolve_home(home)
                               : (options.all ? "the cluster at " : "the head at ") + address;
  if (options.common.json) {
    print_json({{"stopped", what}, {"all", options.all}});
  } else {
    std::printf("stopped %s\n", what.c_str());
  }
  return kExitOk;
}

}  // namespace

Action add_stop(CLI::App& app) {
  auto options = std::make_shared<StopOptions>();
  add_common_options(app, options->common);
  app.add_option("--cluster", options->cluster,
                 "The head at HOST:PORT or TOKEN@HOST:PORT instead of this home's daemon")
      ->type_name("ADDRESS");
  app.add_flag("--all", options->all, "Every daemon of the cluster, the head last");
  app.footer(
      "Examples:\n"
      "  troupe stop                       this home's daemon\n"
      "  troupe stop --home /tmp/node2     the daemon of another home\n"
      "  troupe stop --all                 the whole cluster");
  return [options] { return stop(*options); };
}

}  // namespace troupe::tools
