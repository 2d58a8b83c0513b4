#include <troupe/actors/coordinator/shell.h>

// Asks the nodes what a model's layers would cost them and what the ways between them carry, and
// goes on when all have answered, or when it has taken too long.

namespace troupe::actors::coordinator {
namespace {

// Old measurements count until newer ones are there; from this age on newer ones are asked for.
constexpr std::int64_t kFreshUs = 600'000'000;
constexpr std::size_t kWaysMax = 8;  // from one node: to those that joined after it, and the head

std::uint32_t threads_max(const ClusterState& state) {
  std::uint32_t most = 1;
  for (const NodeRecord* node : state.nodes()) {
    if (node->alive() && node->works) most = std::max(most, node->threads);
  }
  return most;
}

void ask(Self self, const Setup& setup, const Measurement& measurement) {
  const std::vector<const NodeRecord*> nodes = self->state.state->nodes();
  for (const net::PublicKey& key : measurement.awaited) {
    Measure order = measurement.order;
    const NodeRecord* record = self->state.state->node(key);
    order.compute = record != nullptr && record->works;
    const auto add = [&](const NodeRecord* peer) {
      if (peer->alive() && peer->key != key) {
        order.peers.push_back(address_of(self, setup, peer->key));
      }
    };
    std::size_t at = 0;
    while (at < nodes.size() && nodes[at]->key != key) ++at;
    for (std::size_t i = 1; i < nodes.size() && order.peers.size() < kWaysMax; ++i) {
      const NodeRecord* peer = nodes[(at + i) % nodes.size()];
      if (peer->key != setup->link->self()) add(peer);
    }
    if (const NodeRecord* head = self->state.state->node(setup->link->self())) add(head);
    order.sources.push_back(address_of(self, setup, setup->link->self()));
    tell(setup, key, MessageType::kMeasure, order);
  }
}

void finish(Self self, std::uint64_t number) {
  auto found = self->state.measurements.extract(number);
  if (!found.empty()) found.mapped().then();
}

}  // namespace

bool measure_first(Self self, const Setup& setup, const OpenModel& open,
                   const model::ModelConfig& config, std::int64_t patience_us, bool alone,
                   std::function<void()> then) {
  ClusterState& state = *self->state.state;
  const std::int64_t now = monotonic_us();
  std::size_t workers = 0;
  bool fresh = true;
  Measurement measurement;
  for (const NodeRecord* node : state.nodes()) {
    if (!node->alive()) continue;
    measurement.awaited.insert(node->key);
    if (!node->works) continue;
    ++workers;
    fresh = fresh && state.measured_since(open.manifest.model, node->key, now - kFreshUs);
  }
  if (fresh || workers == 0 || (workers == 1 && !alone)) return false;
  const std::uint64_t number = self->state.next_measurement++;
  measurement.order.number = number;
  measurement.order.manifest = open.manifest;
  measurement.order.kv = open.kv;
  measurement.order.chunk_rows =
      static_cast<std::uint32_t>(model::prompt_chunk_rows(workers, threads_max(state)));
  measurement.order.hidden_bytes = static_cast<std::uint32_t>(config.channels * sizeof(float));
  measurement.allowing = measurement.awaited;
  measurement.until_us = now + patience_us;
  measurement.then = std::move(then);
  AllowPeers allow;
  allow.epoch = number;
  for (const net::PublicKey& key : measurement.awaited) {
    allow.peers.push_back(address_of(self, setup, key));
  }
  const auto awaited = measurement.awaited;
  self->state.measurements.emplace(number, std::move(measurement));
  for (const net::PublicKey& key : awaited) tell(setup, key, MessageType::kAllowPeers, allow);
  return true;
}

bool on_measuring_allowed(Self self, const Setup& setup, const net::PublicKey& node,
                          std::uint64_t number) {
  const auto found = self->state.measurements.find(number);
  if (found == self->state.measurements.end()) return false;
  if (found->second.allowing.erase(node) != 0 && found->second.allowing.empty()) {
    ask(self, setup, found->second);
  }
  return true;
}

void on_measured(Self self, const net::PublicKey& node, const Measured& measured) {
  const auto found = self->state.measurements.find(measured.number);
  if (found == self->state.measurements.end()) return;  // too late
  ClusterState& state = *self->state.state;
  const std::int64_t now = monotonic_us();
  for (const WayMeasured& way : measured.ways) {
    state.set_way(node, way.peer, {way.latency_us, way.bytes_us});
  }
  if (measured.code != 0) {
    const NodeRecord* record = state.node(node);
    log(LogLevel::kWarning, "node " + (record != nullptr ? record->name : "?") +
                                " could not be measured: " + measured.text);
  } else if (measured.cost.known()) {
    state.set_cost(found->second.order.manifest.model, node, measured.cost, now);
  }
  found->second.awaited.erase(node);
  if (found->second.awaited.empty()) finish(self, measured.number);
}

void look_after_measurements(Self self) {
  const std::int64_t now = monotonic_us();
  std::vector<std::uint64_t> over;
  for (auto& [number, measurement] : self->state.measurements) {
    std::erase_if(measurement.awaited, [&](const net::PublicKey& key) {
      const NodeRecord* node = self->state.state->node(key);
      return node == nullptr || !node->alive();
    });
    if (measurement.awaited.empty() || now >= measurement.until_us) over.push_back(number);
  }
  for (const std::uint64_t number : over) finish(self, number);
}

// ---- troupe plan -----------------------------------------------------------------------------

namespace {

constexpr std::int64_t kPlanPatienceUs = 20'000'000;

Managed managed(std::uint64_t request, const Result<std::string>& text) {
  if (text) return {request, 0, *text};
  return {request, static_cast<std::uint8_t>(text.code()), text.status().message()};
}

}  // namespace

void plan_model(Self self, const Setup& setup, const PlanModel& asked, const net::PublicKey& from,
                std::function<void(const Managed&)> reply) {
  const auto header_here = [=](const Status& status, const Opening& opening) {
    const auto config_of = [&]() -> Result<model::ModelConfig> {
      TROUPE_RETURN_IF_ERROR(status);
      TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(opening.open.manifest));
      return model::config_from_gguf(source->header());
    };
    const auto config = config_of();
    if (!config) return reply(managed(asked.request, config.status()));
    const auto answer = [=] {
      reply(managed(asked.request, plan_text(self, setup, opening, asked.context, asked.nodes)));
    };
    if (!measure_first(self, setup, opening.open, *config, kPlanPatienceUs, true, answer)) answer();
  };
  open_model(self, setup, asked.open, from, {}, header_here);
}

}  // namespace troupe::actors::coordinator
