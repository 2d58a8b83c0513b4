#include <algorithm>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/model/planning/placement.h>
#include <troupe/runtime/text/utf8.h>

// ClusterState, the part that decides where layers lie.

namespace troupe::actors {
bool Deployment::on(const net::PublicKey& node) const {
  return std::any_of(stages.begin(), stages.end(),
                     [&](const StagePlan& stage) { return stage.node == node; });
}

ClusterState::Workers ClusterState::usable(const std::set<net::PublicKey>& unfit) const {
  Workers workers;
  for (const NodeRecord* node : nodes()) {
    if (node->alive() && node->works && !unfit.contains(node->key)) workers.push_back(node);
  }
  return workers;
}

namespace {

std::string order_key(const std::string& model, const std::vector<model::LayerRange>& asked) {
  std::string key = model;
  for (const model::LayerRange& range : asked) key += " " + model::to_string(range);
  return key;
}

}  // namespace

void ClusterState::remember_order(const std::string& model,
                                  const std::vector<model::LayerRange>& asked,
                                  std::vector<net::PublicKey> nodes) {
  orders_[order_key(model, asked)] = std::move(nodes);
}

void ClusterState::remember_order(const Deployment& deployment) {
  if (deployment.stages.size() < deployment.stages_wanted) return;
  const auto known = orders_.find(order_key(deployment.manifest.model, deployment.asked));
  if (known != orders_.end() && deployment.stages.size() < known->second.size()) return;
  std::vector<net::PublicKey> nodes;
  for (const StagePlan& stage : deployment.stages) nodes.push_back(stage.node);
  remember_order(deployment.manifest.model, deployment.asked, std::move(nodes));
}

// Those that are not remembered stay where they are, behind the others.
void ClusterState::in_remembered_order(Workers& workers, const std::string& model,
                                       const std::vector<model::LayerRange>& asked) const {
  const auto order = orders_.find(order_key(model, asked));
  if (order == orders_.end()) return;
  const auto place = [&](const NodeRecord* node) {
    return std::find(order->second.begin(), order->second.end(), node->key);
  };
  std::stable_sort(workers.begin(), workers.end(),
                   [&](const auto* a, const auto* b) { return place(a) < place(b); });
}

std::uint64_t ClusterState::free_bytes(const NodeRecord& node, const Deployment& for_this) const {
  // Sums of what nodes say must not overflow.
  std::uint64_t free = std::min(node.memory_bytes, std::uint64_t{1} << 53);
  for (const auto& [id, deployment] : deployments_) {
    if (id == for_this.id || for_this.instead_of.contains(id)) continue;
    for (const StagePlan& stage : deployment.stages) {
      if (stage.node == node.key) free -= std::min(free, stage.planned_bytes);
    }
  }
  return free;
}

namespace {

// A way within one process, and one that is not known.
constexpr model::LinkCost kInside{60, 0}, kUnknownWay{1000, 50};

}  // namespace

model::PlanNodes ClusterState::plan_nodes(const Workers& workers, const std::string& model) const {
  model::PlanNodes out;
  const auto costs = costs_.find(model);
  if (costs == costs_.end()) return out;
  std::vector<net::PublicKey> ends;
  for (const NodeRecord* node : workers) {
    const auto cost = costs->second.find(node->key);
    if (cost == costs->second.end()) return {};
    out.costs.push_back(cost->second.layers);
    if (node->key == head_) out.engine = ends.size();
    std::size_t host = 0;
    while (workers[host]->host != node->host) ++host;
    out.hosts.push_back(host);
    ends.push_back(node->key);
  }
  ends.push_back(head_);
  for (const net::PublicKey& from : ends) {
    auto& row = out.links.emplace_back();
    for (const net::PublicKey& to : ends) {
      // One direction is as good as the other where only that was measured.
      auto way = ways_.find({from, to});
      if (way == ways_.end()) way = ways_.find({to, from});
      row.push_back(from == to ? kInside : way != ways_.end() ? way->second : kUnknownWay);
    }
  }
  return out;
}

model::PlanShape ClusterState::plan_shape(const Workers& workers,
                                          const Deployment& deployment) const {
  std::uint32_t threads = 1;
  for (const NodeRecord* node : workers) threads = std::max(threads, node->threads);
  return {deployment.layers, deployment.channels,
          model::prompt_chunk_rows(workers.size(), threads)};
}

Result<std::vector<model::LayerRange>> ClusterState::choose_ranges(
    const Workers& workers, const Deployment& deployment,
    std::span<const std::uint64_t> memories) const {
  model::PlanNodes nodes = plan_nodes(workers, deployment.manifest.model);
  if (workers.size() > 1 && deployment.channels != 0 && !nodes.costs.empty()) {
    nodes.memories.assign(memories.begin(), memories.end());
    return model::place_by_cost(deployment.need, plan_shape(workers, deployment), nodes);
  }
  std::vector<std::size_t> capacities;
  for (const NodeRecord* node : workers) capacities.push_back(std::max(1u, node->threads));
  return model::place_layers(deployment.need, deployment.layers, capacities, memories);
}

void ClusterState::set_cost(const std::string& model, const net::PublicKey& node,
                            const model::LayerCost& cost, std::int64_t now_us) {
  // A peer that says nonsense must not confuse a placement.
  const auto takes_time = [](double us) { return us > 0 && us < 1e9; };
  if (!takes_time(cost.prompt_row_us)) return;
  const auto makes_sense = [&](const model::StepCost& step) {
    return takes_time(step.row_us) && takes_time(step.rows_us) && step.head_row_us >= 0 &&
           step.head_row_us < 1e9 && step.head_rows_us >= 0 && step.head_rows_us < 1e9;
  };
  if (!makes_sense(cost.many) || (cost.few.layers != 0 && !makes_sense(cost.few))) return;
  if (!(cost.share > 0 && cost.share <= 1) || cost.threads == 0 || cost.host_cpus == 0) return;
  costs_[model][node] = {cost, now_us};
}

void ClusterState::set_way(const net::PublicKey& from, const net::PublicKey& to,
                           const model::LinkCost& cost) {
  if (!(cost.latency_us > 0 && cost.latency_us < 1e9 && cost.bytes_per_us >= 0)) return;
  ways_[{from, to}] = cost;
}

bool ClusterState::measured_since(const std::string& model, const net::PublicKey& node,
                                  std::int64_t since_us) const {
  const auto costs = costs_.find(model);
  if (costs == costs_.end()) return false;
  const auto cost = costs->second.find(node);
  return cost != costs->second.end() && cost->second.measured_us >= since_us;
}

Result<ClusterState::Outlook> ClusterState::outlook(const Deployment& deployment,
                                                    const std::vector<std::string>& names) const {
  Outlook out;
  std::set<std::string> wanted(names.begin(), names.end());
  for (const NodeRecord* node : usable({})) {
    if (names.empty() || wanted.erase(node->name) != 0) out.nodes.push_back(node);
  }
  if (!wanted.empty()) {
    return Status(Code::kNotFound, "no node that holds layers is named " +
                                       in_quotes(*wanted.begin()) + "; `troupe nodes` lists them");
  }
  if (out.nodes.empty())
    return Status(Code::kUnavailable, "no node of the cluster can hold layers");
  in_remembered_order(out.nodes, deployment.manifest.model, deployment.asked);
  TROUPE_ASSIGN_OR_RETURN(const auto stages, share_out(out.nodes, deployment, deployment.asked));
  for (const NodeRecord* node : out.nodes) {
    out.memories.push_back(free_bytes(*node, deployment));
    model::LayerRange range{deployment.layers, deployment.layers};
    for (const StagePlan& stage : stages) {
      if (stage.node == node->key) range = stage.layers;
    }
    out.ranges.push_back(range);
  }
  out.measured = plan_nodes(out.nodes, deployment.manifest.model);
  out.measured.memories = out.memories;
  out.shape = plan_shape(out.nodes, deployment);
  return out;
}

std::uint64_t ClusterState::positions_max(const Deployment& deployment) const {
  std::uint64_t least = 0;
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* record = node(stage.node);
    if (record == nullptr) return 0;
    const std::uint64_t here =
        deployment.need.positions_in(stage.layers, free_bytes(*record, deployment));
    if (here == 0) return 0;
    least = least == 0 ? here : std::min(least, here);
  }
  return least;
}

// The layers of `ranges`, or our own choice when there are none, on the first of `workers`, within
// their memory.
Result<std::vector<StagePlan>> ClusterState::share_out(
    const Workers& workers, const Deployment& deployment,
    const std::vector<model::LayerRange>& ranges) const {
  const model::MemoryNeed& need = deployment.need;
  std::vector<std::uint64_t> memories;
  for (const NodeRecord* node : workers) memories.push_back(free_bytes(*node, deployment));
  std::vector<model::LayerRange> placed = ranges;
  if (placed.empty()) {
    TROUPE_ASSIGN_OR_RETURN(placed, choose_ranges(workers, deployment, memories));
  } else {
    TROUPE_RETURN_IF_ERROR(model::check_layer_ranges(placed, deployment.layers, workers.size()));
    for (std::size_t i = 0; i < placed.size(); ++i) {
      const std::uint64_t wanted = need.of(placed[i]);
      if (wanted <= memories[i]) continue;
      const model::MemoryTexts texts = model::memory_texts(wanted, memories[i]);
      return Status(Code::kResourceExhausted,
                    "layers " + model::to_string(placed[i]) + " need " + texts.needed + " with " +
                        need.kv_text() + ", and node " + workers[i]->name + " has " + texts.there +
                        " left: " + texts.missing +
                        " are missing; give it fewer layers (--layers) or more memory (--memory)");
    }
  }
  std::vector<StagePlan> stages;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    if (placed[i].begin == placed[i].end) continue;  // no memory, or more nodes than layers
    StagePlan stage;
    stage.node = workers[i]->key;
    stage.layers = placed[i];
    stage.planned_bytes = need.of(placed[i]);
    stages.push_back(stage);
  }
  return stages;
}

Result<std::uint64_t> ClusterState::plan(ModelAsk ask, std::set<std::uint64_t> instead_of) {
  Deployment deployment(std::move(ask));
  deployment.instead_of = std::move(instead_of);
  Workers workers = usable({});
  in_remembered_order(workers, deployment.manifest.model, deployment.asked);
  if (workers.empty()) {
    return Status(Code::kUnavailable,
                  "no node of the cluster can hold layers; start one with 'troupe start --join "
                  "TOKEN@HOST:PORT', as the head printed it");
  }
  TROUPE_ASSIGN_OR_RETURN(deployment.stages, share_out(workers, deployment, deployment.asked));
  const std::uint64_t id = add(std::move(deployment));
  remember_order(deployments_.at(id));
  return id;
}

std::uint64_t ClusterState::add(Deployment deployment) {
  deployment.stages_wanted = deployment.stages.size();
  deployment.id = deployment.epoch = next_epoch_++;
  const std::uint64_t id = deployment.id;
  deployments_.emplace(id, std::move(deployment));
  return id;
}

Result<std::vector<StagePlan>> ClusterState::places(const Deployment& deployment,
                                                    const std::set<net::PublicKey>& unfit,
                                                    bool grow) const {
  const Workers workers = usable(unfit);
  const auto left = [&](const net::PublicKey& key) {
    return std::find_if(workers.begin(), workers.end(),
                        [&](const NodeRecord* node) { return node->key == key; });
  };
  Workers spares;
  for (const NodeRecord* node : workers) {
    if (!deployment.on(node->key)) spares.push_back(node);
  }
  // In the order of layers: whoever is left, and a spare in the place of each lost one.
  Workers chosen;
  std::vector<model::LayerRange> ranges;
  auto spare = spares.begin();
  for (const StagePlan& stage : deployment.stages) {
    ranges.push_back(stage.layers);
    if (const auto found = left(stage.node); found != workers.end()) {
      chosen.push_back(*found);
    } else if (spare != spares.end()) {
      chosen.push_back(*spare++);
    }
  }
  Workers everyone = chosen;
  everyone.insert(everyone.end(), spare, spares.end());
  if (everyone.empty()) {
    return Status(Code::kUnavailable, "no node is left that could hold its layers");
  }
  // Who comes back gets the place that it had.
  if (grow) in_remembered_order(everyone, deployment.manifest.model, deployment.asked);
  Result<std::vector<StagePlan>> stages = Status(Code::kUnavailable, "");
  if (!grow && !chosen.empty()) {
    const bool as_before = chosen.size() == ranges.size();
    stages = share_out(chosen, deployment, as_before ? ranges : std::vector<model::LayerRange>());
  } else if (everyone.size() >= deployment.asked.size()) {
    stages = share_out(everyone, deployment, deployment.asked);
  }
  if (!stages) stages = share_out(everyone, deployment, {});
  return stages;
}

Status ClusterState::replace(std::uint64_t id, bool grow) {
  Deployment& deployment = deployments_.at(id);
  auto stages = places(deployment, apart(deployment), grow);
  const bool alone = stages.is_ok();
  if (!alone) stages = places(deployment, deployment.unfit, grow);
  if (!stages) return stages.status();
  deployment.doubled = !alone;
  deployment.stages = std::move(*stages);
  if (replicas(deployment).front() == id) remember_order(deployment);
  deployment.epoch = next_epoch_++;
  deployment.life = DeploymentLife::kAllowing;
  deployment.waiting_since_us = 0;
  ++replacements_;
  return Status::ok();
}

std::map<net::PublicKey, model::LayerRange> ClusterState::copies(std::uint64_t id) const {
  const Deployment& deployment = deployments_.at(id);
  std::map<net::PublicKey, model::LayerRange> wanted;
  for (const StagePlan& lost : deployment.stages) {
    std::set<net::PublicKey> unfit = deployment.unfit;
    unfit.insert(lost.node);
    const auto after = places(deployment, unfit, false);
    if (!after) continue;
    for (const StagePlan& stage : *after) {
      model::LayerRange& layers = wanted.emplace(stage.node, stage.layers).first->second;
      layers.begin = std::min(layers.begin, stage.layers.begin);
      layers.end = std::max(layers.end, stage.layers.end);
    }
  }
  return wanted;
}

void ClusterState::holds(const std::string& model, const net::PublicKey& node,
                         model::LayerRange layers, std::uint64_t copied_bytes) {
  for (std::size_t i = layers.begin; i < layers.end; ++i) disks_[model][node].insert(i);
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) found->second.copied_bytes += copied_bytes;
}

std::size_t ClusterState::disks(const std::string& model, model::LayerRange layers) const {
  std::size_t fewest = nodes_.size();
  for (std::size_t i = layers.begin; i < layers.end; ++i) {
    fewest = std::min(fewest, holders(model, {i, i + 1}, {}).size());
  }
  return fewest;
}

std::vector<net::PublicKey> ClusterState::holders(const std::string& model,
                                                  model::LayerRange layers,
                                                  const net::PublicKey& except) const {
  std::vector<net::PublicKey> keys;
  const auto disks = disks_.find(model);
  if (disks == disks_.end()) return keys;
  for (const auto& [key, held] : disks->second) {
    const NodeRecord* record = node(key);
    const auto first = held.lower_bound(layers.begin);
    const bool some = first != held.end() && *first < layers.end;
    if (some && key != except && record != nullptr && record->alive()) keys.push_back(key);
  }
  return keys;
}

void ClusterState::wait(std::uint64_t id, std::int64_t now_us) {
  Deployment& deployment = deployments_.at(id);
  if (deployment.life != DeploymentLife::kWaiting) deployment.waiting_since_us = now_us;
  deployment.life = DeploymentLife::kWaiting;
  // Its layers are nowhere: of those that are left, too, the stages have ended.
  for (StagePlan& stage : deployment.stages) {
    stage.loaded = false;
    stage.weights_bytes = 0;
  }
}

std::vector<std::pair<std::uint64_t, bool>> ClusterState::waiting(std::int64_t now_us) const {
  std::vector<std::pair<std::uint64_t, bool>> ids;
  for (const auto& [id, deployment] : deployments_) {
    if (deployment.life != DeploymentLife::kWaiting) continue;
    ids.emplace_back(id, now_us - deployment.waiting_since_us >= kNobodyLeftUs);
  }
  return ids;
}

bool ClusterState::others_than(const net::PublicKey& node, const Deployment& deployment) const {
  std::set<net::PublicKey> unfit = deployment.unfit;
  unfit.insert(node);
  return !usable(unfit).empty();
}

bool ClusterState::can_grow(const Deployment& deployment) const {
  const std::set<net::PublicKey> unfit = apart(deployment);
  const std::size_t there = std::min(usable(unfit).size(), deployment.layers);
  if (deployment.stages.size() >= std::min(deployment.stages_wanted, there)) return false;
  // A node without memory for one layer is no help.
  const auto grown = places(deployment, unfit, true);
  return grown && grown->size() > deployment.stages.size();
}

Deployment* ClusterState::find(const std::string& model,
                               const std::vector<model::LayerRange>& ranges, std::uint8_t kv) {
  for (auto& [id, deployment] : deployments_) {
    if (deployment.manifest.model != model || deployment.life == DeploymentLife::kFailed) continue;
    if (deployment.kv != kv) continue;
    const bool same = ranges.size() == deployment.stages.size() &&
                      std::equal(ranges.begin(), ranges.end(), deployment.stages.begin(),
                                 [](const auto& a, const auto& b) { return a == b.layers; });
    if (ranges.empty() || same || ranges == deployment.asked) return &deployment;
  }
  return nullptr;
}

}  // namespace troupe::actors
