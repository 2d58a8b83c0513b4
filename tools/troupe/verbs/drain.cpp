#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kDrainPatience = 120s;  // until others have loaded what the node held
constexpr auto kLookEvery = 200ms;

struct DrainOptions {
  CommonOptions common;
  std::string node, cluster;
  bool undo = false;
};

// Waits until nothing lies on the node any more, and everything that moved from it serves again.
Status await_empty(Cluster& cluster, const DrainedNode& drained) {
  const auto until = std::chrono::steady_clock::now() + kDrainPatience;
  for (;;) {
    TROUPE_ASSIGN_OR_RETURN(const ClusterStatus status, cluster.status());
    bool holds = false, serves = true;
    for (const NodeStatus& node : status.nodes)
      holds = holds || (node.name == drained.node && node.weights_bytes > 0);
    for (const DeploymentStatus& deployment : status.deployments) {
      const auto& moved = drained.moved;
      if (std::find(moved.begin(), moved.end(), deployment.model) != moved.end())
        serves = serves && deployment.state == "ready";
    }
    if (!holds && serves) return Status::ok();
    if (std::chrono::steady_clock::now() >= until)
      return Status(Code::kDeadlineExceeded,
                    "node " + drained.node + " gets no layers any more, but what it held is not " +
                        "loaded elsewhere after " + std::to_string(kDrainPatience.count()) +
                        " s; `troupe status` shows what is under way");
    std::this_thread::sleep_for(kLookEvery);
  }
}

Result<DrainedNode> ask(const DrainOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(options.common.home, options.cluster));
  TROUPE_ASSIGN_OR_RETURN(const DrainedNode drained, cluster.drain(options.node, options.undo));
  if (drained.draining) TROUPE_RETURN_IF_ERROR(await_empty(cluster, drained));
  return drained;
}

int drain(const DrainOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<DrainedNode> drained = ask(options);
  if (!drained) return fail(drained.status(), options.common.json);
  if (options.common.json) {
    print_json(to_json(*drained));
  } else if (drained->draining) {
    std::string moved;
    for (const std::string& model : drained->moved) moved += (moved.empty() ? "" : ", ") + model;
    if (!moved.empty()) say("other nodes have taken over the layers of " + moved);
    std::printf("node %s holds no layers%s\n", drained->node.c_str(),
                drained->is_head ? ", but it is the head, without which the cluster stops"
                                 : " and may be stopped");
  } else {
    std::printf("node %s gets layers again\n", drained->node.c_str());
  }
  return kExitOk;
}

}  // namespace

Action add_drain(CLI::App& app) {
  auto options = std::make_shared<DrainOptions>();
  app.add_option("NODE", options->node, "The node's name, as `troupe nodes` shows it")->required();
  app.add_flag("--undo", options->undo, "Give the node layers again");
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "The other nodes load what the node holds, and the answers under way go on there. The\n"
      "command ends when the node may be stopped. A daemon that is started again gets layers\n"
      "without --undo.\n"
      "\n"
      "Examples:\n"
      "  troupe drain node2 && ssh node2 troupe stop\n"
      "  troupe drain node2 --undo\n"
      "  troupe drain node2 --json          "
      "{\"node\",\"draining\",\"moved\":[models],\"is_head\"}");
  return [options] { return drain(*options); };
}

}  // namespace troupe::tools
