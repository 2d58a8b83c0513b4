#include <troupe/actors/coordinator/shell.h>

// Asks the nodes what a model's layers would cost them and what the ways between them carry, and
// goes on when all have answered, or when it has taken too long.

namespace troupe::actors::coordinator {
namespace {

// Old measurements count until newer ones are there; from this age on newer ones are asked for.
constexpr std::int64_t kFreshUs = 600'000'000;
// A node that has not answered by then is not waited for; the next measurement begins.
constexpr std::int64_t kLateUs = 20'000'000;
constexpr std::size_t kWaysMax = 8;  // from one node: to those that joined after it, and the head

std::uint32_t threads_max(const ClusterState& state) {
  std::uint32_t most = 1;
  for (const NodeRecord* node : state.nodes()) {
    if (node->alive() && node->works) most = std::max(most, node->threads);
  }
  return most;
}

void ask(Self self, const Setup& setup, const Measurement& measurement, const NodeRecord& record) {
  const std::vector<const NodeRecord*> nodes = self->state.state->nodes();
  Measure order = measurement.order;
  order.compute = record.works;
  const auto add = [&](const NodeRecord* peer) {
    if (peer->alive() && peer->key != record.key) {
      order.peers.push_back(address_of(self, setup, peer->key));
    }
  };
  std::size_t at = 0;
  while (at < nodes.size() && nodes[at]->key != record.key) ++at;
  for (std::size_t i = 1; i < nodes.size() && order.peers.size() < kWaysMax; ++i) {
    const NodeRecord* peer = nodes[(at + i) % nodes.size()];
    if (peer->key != setup->link->self()) add(peer);
  }
  if (const NodeRecord* head = self->state.state->node(setup->link->self())) add(head);
  order.sources.push_back(address_of(self, setup, setup->link->self()));
  tell(setup, record.key, MessageType::kMeasure, order);
}

// Of nodes that share a host one after the other: each would slow the others.
void ask_next(Self self, const Setup& setup, Measurement& measurement) {
  if (!measurement.begun || !measurement.allowing.empty()) return;
  std::set<std::string> busy;
  for (const net::PublicKey& key : measurement.awaited) {
    const NodeRecord* record = self->state.state->node(key);
    if (record != nullptr && !measurement.unasked.contains(key)) busy.insert(record->host);
  }
  for (auto it = measurement.unasked.begin(); it != measurement.unasked.end();) {
    const NodeRecord* record = self->state.state->node(*it);
    if (record != nullptr && !busy.insert(record->host).second) {
      ++it;
      continue;
    }
    it = measurement.unasked.erase(it);
    if (record != nullptr) ask(self, setup, measurement, *record);
  }
}

// The eldest one that has not begun, when none is under way.
void begin_next(Self self, const Setup& setup) {
  Measurement* next = nullptr;
  for (auto& [number, measurement] : self->state.measurements) {
    if (measurement.begun) return;
    if (next == nullptr) next = &measurement;
  }
  if (next == nullptr) return;
  next->begun = true;
  next->until_us = monotonic_us() + kLateUs;
  AllowPeers allow;
  allow.epoch = next->order.number;
  for (const net::PublicKey& key : next->awaited) {
    allow.peers.push_back(address_of(self, setup, key));
  }
  for (const net::PublicKey& key : next->awaited) {
    tell(setup, key, MessageType::kAllowPeers, allow);
  }
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
  for (auto& [number, running] : self->state.measurements) {
    const Measure& order = running.order;
    if (order.manifest.model != open.manifest.model || order.kv != open.kv) continue;
    running.waiters.push_back({now + patience_us, std::move(then)});
    return true;
  }
  const std::uint64_t number = self->state.next_measurement++;
  measurement.order.number = number;
  measurement.order.manifest = open.manifest;
  measurement.order.kv = open.kv;
  measurement.order.chunk_rows =
      static_cast<std::uint32_t>(model::prompt_chunk_rows(workers, threads_max(state)));
  measurement.order.hidden_bytes = static_cast<std::uint32_t>(config.channels * sizeof(float));
  measurement.allowing = measurement.unasked = measurement.awaited;
  measurement.waiters.push_back({now + patience_us, std::move(then)});
  self->state.measurements.emplace(number, std::move(measurement));
  begin_next(self, setup);
  return true;
}

bool on_measuring_allowed(Self self, const Setup& setup, const net::PublicKey& node,
                          std::uint64_t number) {
  const auto found = self->state.measurements.find(number);
  if (found == self->state.measurements.end()) return false;
  if (found->second.allowing.erase(node) != 0 && found->second.allowing.empty()) {
    ask_next(self, setup, found->second);
  }
  return true;
}

void on_measured(Self self, const Setup& setup, const net::PublicKey& node,
                 const Measured& measured) {
  const auto found = self->state.measurements.find(measured.number);
  if (found == self->state.measurements.end()) return;  // too late
  ClusterState& state = *self->state.state;
  const std::int64_t now = monotonic_us();
  for (const WayMeasured& way : measured.ways) {
    state.set_way(node, way.peer, {way.latency_us, way.bytes_per_us});
  }
  if (!measured.outcome.is_ok()) {
    const NodeRecord* record = state.node(node);
    log(LogLevel::kWarning, "node " + (record != nullptr ? record->name : "?") +
                                " could not be measured: " + measured.outcome.text);
  } else if (measured.cost.known()) {
    state.set_cost(found->second.order.manifest.model, node, measured.cost, now);
  }
  found->second.awaited.erase(node);
  ask_next(self, setup, found->second);
  if (!found->second.awaited.empty()) return;
  const auto done = self->state.measurements.extract(found);
  begin_next(self, setup);
  for (const auto& waiter : done.mapped().waiters) waiter.then();
}

void look_after_measurements(Self self, const Setup& setup) {
  const std::int64_t now = monotonic_us();
  std::vector<std::function<void()>> due;
  for (auto it = self->state.measurements.begin(); it != self->state.measurements.end();) {
    Measurement& measurement = it->second;
    for (const net::PublicKey& key : std::set<net::PublicKey>(measurement.awaited)) {
      const NodeRecord* node = self->state.state->node(key);
      if (node != nullptr && node->alive()) continue;
      measurement.awaited.erase(key);
      measurement.allowing.erase(key);
      measurement.unasked.erase(key);
    }
    ask_next(self, setup, measurement);
    const bool over =
        measurement.awaited.empty() || (measurement.begun && now >= measurement.until_us);
    std::erase_if(measurement.waiters, [&](const Measurement::Waiter& waiter) {
      if (!over && now < waiter.until_us) return false;
      due.push_back(waiter.then);
      return true;
    });
    it = over ? self->state.measurements.erase(it) : std::next(it);
  }
  begin_next(self, setup);
  // What goes on may measure, too.
  for (const auto& then : due) then();
}

// ---- troupe plan -----------------------------------------------------------------------------

namespace {

constexpr std::int64_t kPlanPatienceUs = 20'000'000;

Managed managed(std::uint64_t request, const Result<std::string>& text) {
  return {request, Outcome(text)};
}

}  // namespace

void plan_model(Self self, const Setup& setup, const PlanModel& asked, const net::PublicKey& from,
                std::function<void(const Managed&)> reply) {
  const auto header_here = [=](const Status& status, const Opening& opening) {
    if (!status) return reply(managed(asked.request, status));
    const auto config = config_of(setup, opening);
    if (!config) return reply(managed(asked.request, config.status()));
    const auto answer = [=] {
      reply(managed(asked.request, plan_text(self, setup, opening, asked.context, asked.nodes)));
    };
    if (!measure_first(self, setup, opening.open, *config, kPlanPatienceUs, true, answer)) answer();
  };
  open_model(self, setup, asked.open, from, {}, header_here);
}

}  // namespace troupe::actors::coordinator
