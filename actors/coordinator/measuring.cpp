#include <algorithm>
#include <set>

#include <troupe/actors/coordinator/measuring.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors::coordinator {
namespace {

// Nodes that have not answered after this time are not waited for; the next measurement begins.
constexpr std::int64_t kLateUs = 20'000'000;
// The number of connections that one node measures: to the nodes that joined after it, and to the
// head.
constexpr std::size_t kConnectionsMax = 8;

std::uint32_t threads_max(const ClusterState& cluster) {
  std::uint32_t most = 1;
  for (const NodeRecord* node : cluster.members.all()) {
    if (node->alive() && node->works) most = std::max(most, node->threads);
  }
  return most;
}

void ask(HeadState& head, const Measurement& measurement, const NodeRecord& record) {
  const std::vector<const NodeRecord*> nodes = head.cluster.members.all();
  Measure order = measurement.order;
  order.compute = record.works;
  const auto add = [&](const NodeRecord* peer) {
    if (peer->alive() && peer->key != record.key) {
      order.peers.push_back(address_of(head, peer->key));
    }
  };
  std::size_t at = 0;
  while (at < nodes.size() && nodes[at]->key != record.key) ++at;
  for (std::size_t i = 1; i < nodes.size() && order.peers.size() < kConnectionsMax; ++i) {
    const NodeRecord* peer = nodes[(at + i) % nodes.size()];
    if (peer->key != head.own_key()) add(peer);
  }
  if (const NodeRecord* own = head.cluster.members.find(head.own_key())) add(own);
  order.sources.push_back(address_of(head, head.own_key()));
  send(head, record.key, MessageType::kMeasure, order);
}

// Asks nodes that share a host one after the other, because they would slow each other down.
void ask_next(HeadState& head, Measurement& measurement) {
  if (!measurement.begun || !measurement.allowing.empty()) return;
  std::set<std::string> busy;
  for (const net::PublicKey& key : measurement.awaited) {
    const NodeRecord* record = head.cluster.members.find(key);
    if (record != nullptr && !measurement.unasked.contains(key)) busy.insert(record->host);
  }
  for (auto it = measurement.unasked.begin(); it != measurement.unasked.end();) {
    const NodeRecord* record = head.cluster.members.find(*it);
    if (record != nullptr && !busy.insert(record->host).second) {
      ++it;
      continue;
    }
    it = measurement.unasked.erase(it);
    if (record != nullptr) ask(head, measurement, *record);
  }
}

AllowPeers allow_of(const HeadState& head, const Measurement& measurement) {
  AllowPeers allow;
  allow.epoch = measurement.order.number;
  for (const net::PublicKey& key : measurement.awaited) {
    allow.peers.push_back(address_of(head, key));
  }
  return allow;
}

// Lets these nodes, and no others, ask the head for the model's header, which is all that measuring
// needs.
void grant_header(HeadState& head, const model::Manifest& manifest,
                  const std::set<net::PublicKey>& nodes) {
  head.self->send(
      head.setup->bulk,
      std::make_shared<const FetchGrant>(
          FetchGrant{"header " + manifest.model, {manifest.header}, {nodes.begin(), nodes.end()}}));
}

void tell(HeadState& head, Measurement& measurement, const net::PublicKey& key,
          const AllowPeers& allow) {
  if (const NodeRecord* record = head.cluster.members.find(key)) {
    measurement.told[key] = {record->incarnation, record->greeting};
  }
  send(head, key, MessageType::kAllowPeers, allow);
}

// Begins the oldest measurement that has not begun, unless one is under way.
void begin_next(HeadState& head) {
  Measurement* next = nullptr;
  for (auto& [number, measurement] : head.measurements) {
    if (measurement.begun) return;
    if (next == nullptr) next = &measurement;
  }
  if (next == nullptr) return;
  next->begun = true;
  next->until_us = monotonic_us() + kLateUs;
  grant_header(head, next->order.manifest, next->awaited);
  const AllowPeers allow = allow_of(head, *next);
  for (const net::PublicKey& key : next->awaited) tell(head, *next, key, allow);
}

}  // namespace

bool measure_first(HeadState& head, const OpenModel& open, const model::ModelConfig& config,
                   std::int64_t patience_us, bool alone, std::function<void()> then) {
  ClusterState& cluster = head.cluster;
  const std::int64_t now = monotonic_us();
  std::size_t workers = 0;
  bool fresh = true;
  Measurement measurement;
  for (const NodeRecord* node : cluster.members.all()) {
    if (!node->alive()) continue;
    measurement.awaited.insert(node->key);
    if (!node->works) continue;
    ++workers;
    fresh = fresh &&
            cluster.costs.measured_since(open.manifest.model, node->key, now - kMeasuredFreshUs);
  }
  if (fresh || workers == 0 || (workers == 1 && !alone)) return false;
  for (auto& [number, running] : head.measurements) {
    const Measure& order = running.order;
    if (order.manifest.model != open.manifest.model || order.kv != open.kv) continue;
    running.waiters.push_back({now + patience_us, std::move(then)});
    return true;
  }
  const std::uint64_t number = head.next_measurement++;
  measurement.order.number = number;
  measurement.order.manifest = open.manifest;
  measurement.order.kv = open.kv;
  measurement.order.chunk_rows =
      static_cast<std::uint32_t>(model::prompt_chunk_rows(workers, threads_max(cluster)));
  measurement.order.hidden_bytes = static_cast<std::uint32_t>(config.channels * sizeof(float));
  measurement.allowing = measurement.unasked = measurement.awaited;
  measurement.waiters.push_back({now + patience_us, std::move(then)});
  head.measurements.emplace(number, std::move(measurement));
  begin_next(head);
  return true;
}

bool on_measuring_allowed(HeadState& head, const net::PublicKey& node, std::uint64_t number) {
  const auto found = head.measurements.find(number);
  if (found == head.measurements.end()) return false;
  if (found->second.allowing.erase(node) != 0 && found->second.allowing.empty()) {
    ask_next(head, found->second);
  }
  return true;
}

void on_measured(HeadState& head, const net::PublicKey& node, const Measured& measured) {
  const auto found = head.measurements.find(measured.number);
  if (found == head.measurements.end()) return;  // the answer came too late
  if (!found->second.awaited.contains(node)) return;
  ClusterState& cluster = head.cluster;
  const std::int64_t now = monotonic_us();
  for (const ConnectionMeasured& connection : measured.connections) {
    cluster.costs.set_link(node, connection.peer, {connection.latency_us, connection.bytes_per_us});
  }
  if (!measured.outcome.is_ok()) {
    log(LogLevel::kWarning, "node " + cluster.members.name_of(node) +
                                " could not be measured: " + measured.outcome.text);
  } else if (measured.cost.known()) {
    cluster.costs.set_layers(found->second.order.manifest.model, node, measured.cost, now);
  }
  found->second.awaited.erase(node);
  ask_next(head, found->second);
  if (!found->second.awaited.empty()) return;
  const auto done = head.measurements.extract(found);
  grant_header(head, done.mapped().order.manifest, {});
  begin_next(head);
  for (const auto& waiter : done.mapped().waiters) waiter.then();
}

std::vector<net::PublicKey> joined_anew(const Measurement& measurement, const Members& members) {
  std::vector<net::PublicKey> anew;
  for (const net::PublicKey& key : measurement.awaited) {
    const NodeRecord* record = members.find(key);
    const auto told = measurement.told.find(key);
    if (record == nullptr || !record->alive() || told == measurement.told.end()) continue;
    if (told->second != std::pair(record->incarnation, record->greeting)) anew.push_back(key);
  }
  return anew;
}

void check_measurements(HeadState& head) {
  const std::int64_t now = monotonic_us();
  std::vector<std::function<void()>> due;
  for (auto it = head.measurements.begin(); it != head.measurements.end();) {
    Measurement& measurement = it->second;
    for (const net::PublicKey& key : std::set<net::PublicKey>(measurement.awaited)) {
      if (head.cluster.members.is_alive(key)) continue;
      measurement.awaited.erase(key);
      measurement.allowing.erase(key);
      measurement.unasked.erase(key);
    }
    for (const net::PublicKey& key : joined_anew(measurement, head.cluster.members)) {
      measurement.allowing.insert(key);
      measurement.unasked.insert(key);
      tell(head, measurement, key, allow_of(head, measurement));
    }
    ask_next(head, measurement);
    const bool over =
        measurement.awaited.empty() || (measurement.begun && now >= measurement.until_us);
    std::erase_if(measurement.waiters, [&](const Measurement::Waiter& waiter) {
      if (!over && now < waiter.until_us) return false;
      due.push_back(waiter.then);
      return true;
    });
    if (over) grant_header(head, measurement.order.manifest, {});
    it = over ? head.measurements.erase(it) : std::next(it);
  }
  begin_next(head);
  // A callback may begin another measurement.
  for (const auto& then : due) then();
}

}  // namespace troupe::actors::coordinator
