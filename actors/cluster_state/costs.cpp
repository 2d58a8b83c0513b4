#include <vector>

#include <troupe/actors/cluster_state/costs.h>

namespace troupe::actors {
namespace {

// The costs of a connection within one process, and of one that has not been measured.
constexpr model::LinkCost kInside{60, 0}, kUnknownLink{1000, 50};

bool makes_sense(const model::LayerCost& cost) {
  const auto takes_time = [](double us) { return us > 0 && us < 1e9; };
  const auto is_step = [&](const model::StepCost& step) {
    return takes_time(step.row_us) && takes_time(step.rows_us) && step.head_row_us >= 0 &&
           step.head_row_us < 1e9 && step.head_rows_us >= 0 && step.head_rows_us < 1e9;
  };
  if (!takes_time(cost.prompt_row_us) || !is_step(cost.many)) return false;
  if (cost.few.layers != 0 && !is_step(cost.few)) return false;
  return cost.share > 0 && cost.share <= 1 && cost.threads != 0 && cost.host_cpus != 0;
}

}  // namespace

void Costs::set_layers(const std::string& model, const net::PublicKey& node,
                       const model::LayerCost& cost, std::int64_t now_us) {
  if (makes_sense(cost)) layers_[model][node] = {cost, now_us};
}

void Costs::set_link(const net::PublicKey& from, const net::PublicKey& to,
                     const model::LinkCost& cost) {
  if (!(cost.latency_us > 0 && cost.latency_us < 1e9 && cost.bytes_per_us >= 0)) return;
  links_[{from, to}] = cost;
}

void Costs::forget(const net::PublicKey& node) {
  for (auto& [model, costs] : layers_) costs.erase(node);
  std::erase_if(links_, [&](const auto& link) {
    return link.first.first == node || link.first.second == node;
  });
}

bool Costs::measured_since(const std::string& model, const net::PublicKey& node,
                           std::int64_t since_us) const {
  const auto costs = layers_.find(model);
  if (costs == layers_.end()) return false;
  const auto cost = costs->second.find(node);
  return cost != costs->second.end() && cost->second.at_us >= since_us;
}

model::PlanNodes Costs::plan_nodes(const Workers& workers, const std::string& model,
                                   const net::PublicKey& head) const {
  model::PlanNodes out;
  const auto costs = layers_.find(model);
  if (costs == layers_.end()) return out;
  std::vector<net::PublicKey> ends;
  for (const NodeRecord* node : workers) {
    const auto cost = costs->second.find(node->key);
    if (cost == costs->second.end()) return {};
    out.costs.push_back(cost->second.layers);
    if (node->key == head) out.engine = ends.size();
    std::size_t host = 0;
    while (workers[host]->host != node->host) ++host;
    out.hosts.push_back(host);
    ends.push_back(node->key);
  }
  ends.push_back(head);
  for (const net::PublicKey& from : ends) {
    auto& row = out.links.emplace_back();
    for (const net::PublicKey& to : ends) {
      // If only one direction was measured, its cost also counts for the other one.
      auto link = links_.find({from, to});
      if (link == links_.end()) link = links_.find({to, from});
      row.push_back(from == to ? kInside : link != links_.end() ? link->second : kUnknownLink);
    }
  }
  return out;
}

}  // namespace troupe::actors
