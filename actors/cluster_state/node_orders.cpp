#include <algorithm>

#include <troupe/actors/cluster_state/node_orders.h>

namespace troupe::actors {
namespace {

std::string order_key(const std::string& model, const std::vector<model::LayerRange>& asked) {
  std::string key = model;
  for (const model::LayerRange& range : asked) key += " " + model::to_string(range);
  return key;
}

}  // namespace

void NodeOrders::remember(const std::string& model, const std::vector<model::LayerRange>& asked,
                          std::vector<net::PublicKey> nodes) {
  orders_[order_key(model, asked)] = std::move(nodes);
}

void NodeOrders::remember(const Deployment& deployment) {
  if (deployment.stages.size() < deployment.stages_wanted) return;
  const auto known = orders_.find(order_key(deployment.manifest.model, deployment.asked));
  if (known != orders_.end() && deployment.stages.size() < known->second.size()) return;
  std::vector<net::PublicKey> nodes;
  for (const StagePlan& stage : deployment.stages) nodes.push_back(stage.node);
  remember(deployment.manifest.model, deployment.asked, std::move(nodes));
}

void NodeOrders::sort(Workers& workers, const DeploymentSpec& spec) const {
  const auto order = orders_.find(order_key(spec.manifest.model, spec.asked));
  if (order == orders_.end()) return;
  const auto place = [&](const NodeRecord* node) {
    return std::find(order->second.begin(), order->second.end(), node->key);
  };
  std::stable_sort(workers.begin(), workers.end(),
                   [&](const auto* a, const auto* b) { return place(a) < place(b); });
}

}  // namespace troupe::actors
