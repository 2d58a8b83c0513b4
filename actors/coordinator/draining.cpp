#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/actors/cluster_state/replacement.h>
#include <troupe/actors/coordinator/draining.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::actors::coordinator {
namespace {

using nlohmann::json;

// Checks with a copy of what the head knows whether everything on the node fits on the others.
Status check_room(const ClusterState& now, const NodeRecord& node,
                  const std::vector<std::uint64_t>& deployments) {
  ClusterState trial = now;
  trial.members.set_draining(node.key, true);
  for (const std::uint64_t id : deployments) {
    const Status placed = place_again(trial, id);
    if (placed) continue;
    const std::string model = now.deployments.all().at(id).manifest.name;
    return Status(placed.code(), "node " + node.name + " holds layers of " + model +
                                     " that cannot be moved elsewhere: " + placed.message() +
                                     (placed.code() == Code::kUnavailable
                                          ? "; start another node, or unload the model"
                                          : ""));
  }
  return Status::ok();
}

}  // namespace

Result<json> drain(HeadState& head, const Manage& ask) {
  const NodeRecord* node = head.cluster.members.find_named(ask.subject);
  if (node == nullptr)
    return Status(Code::kNotFound,
                  "no node is named " + in_quotes(ask.subject) + "; `troupe nodes` lists them");
  const std::string name = node->name;
  if (!node->alive())
    return Status(Code::kFailedPrecondition, "node " + name + " is not here: it holds no layers");
  const bool undo = ask.force;
  const std::vector<std::uint64_t> held =
      undo ? std::vector<std::uint64_t>() : head.cluster.deployments.on_node(node->key);
  TROUPE_RETURN_IF_ERROR(check_room(head.cluster, *node, held));
  if (head.setup->admission) {
    TROUPE_RETURN_IF_ERROR(
        head.setup->admission->set_drained(node->key, undo ? 0 : node->incarnation));
  }
  if (head.cluster.members.set_draining(node->key, !undo)) {
    head.events.add(undo ? EventKind::kUndrained : EventKind::kDrained, name, "");
    log(LogLevel::kInfo, "node " + name + (undo ? " gets layers again" : " is being drained"));
  }
  std::set<std::string> moved;  // several deployments may be replicas of one model
  for (const std::uint64_t id : held) {
    const Deployment* deployment = head.cluster.deployments.find_id(id);
    if (deployment == nullptr) continue;  // it was ended to make room for an earlier one
    moved.insert(deployment->manifest.name);
    recover(head, id, "node " + name + " is being drained", "");
  }
  const bool is_head = node->key == head.own_key();
  return json{{"node", name}, {"draining", !undo}, {"moved", moved}, {"is_head", is_head}};
}

}  // namespace troupe::actors::coordinator
