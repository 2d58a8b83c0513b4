#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include <troupe/actors/node/shell.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/local/bench.h>
#include <troupe/model/local/measure_layers.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/version.h>

// Measures what layers would cost here and what the connections to other nodes carry. A connection
// is measured as a step uses it, from one device's thread to another's, through wire, threads and
// actors. The layers come first, then the connections one by one: computing at either end of a
// connection slows it.

namespace troupe::actors::node {
namespace {

constexpr std::size_t kSmallProbes = 12, kLargeProbes = 2, kHugeProbes = 3;
constexpr std::size_t kLargeBytes = std::size_t{64} << 10, kHugeBytes = std::size_t{1} << 20;
// If the large probes take less time than this, noise hides the bandwidth, and huge probes follow.
constexpr double kHugeBelowUs = 5'000;
constexpr std::chrono::milliseconds kPause{2};
// A connection that takes longer to open, and a probe that is not answered in this time, are left
// out.
constexpr std::int64_t kOpenUs = 1'000'000, kProbeUs = 2'000'000;

void answer(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  const Status sent = setup->link->send(setup->head, MessageType::kMeasured, measuring.result);
  if (!sent) log(LogLevel::kWarning, "cannot send what was measured: " + sent.message());
  self->state.measuring.reset();
}

// Sends from the device's thread, after a pause, as a stage does after it has computed: sleeping
// threads must be woken, as they would be for a step.
void send_from_device(const Setup& setup, const std::function<void()>& send, bool pause) {
  if (!setup->device) return send();
  const auto job = [send, pause](Device&) {
    if (pause) std::this_thread::sleep_for(kPause);
    send();
  };
  caf::anon_send(setup->device, std::make_shared<const DeviceJob>(job));
}

std::size_t probe_bytes(const Measuring& measuring) {
  const std::size_t done = measuring.rounds_us.size();
  if (done < kSmallProbes) return std::min<std::size_t>(measuring.order.hidden_bytes, kLargeBytes);
  return done < kSmallProbes + kLargeProbes ? kLargeBytes : kHugeBytes;
}

bool all_sent(const std::vector<double>& rounds_us) {
  constexpr std::size_t kFew = kSmallProbes + kLargeProbes;
  if (rounds_us.size() != kFew) return rounds_us.size() >= kFew + kHugeProbes;
  return *std::min_element(rounds_us.begin() + kSmallProbes, rounds_us.end()) > kHugeBelowUs;
}

void send_probe(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  const auto zeros = std::make_shared<const std::vector<std::byte>>(probe_bytes(measuring));
  measuring.probe = monotonic_us();
  const net::PublicKey peer = measuring.order.peers.back().key;
  const auto send = [setup, peer, zeros] {
    // The number is the time at which the probe was sent.
    const Probe probe{static_cast<std::uint64_t>(monotonic_us())};
    const Status sent =
        setup->link->send(peer, MessageType::kProbe, probe, 0, 0, net::Payload{zeros, *zeros});
    if (!sent) log(LogLevel::kDebug, "a probe was not sent: " + sent.message());
  };
  send_from_device(setup, send, true);
}

// Goes on with the next connection, or answers if there is none.
void next_connection(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  measuring.rounds_us.clear();
  measuring.connection_since_us = monotonic_us();
  if (measuring.order.peers.empty()) return answer(self, setup);
  if (self->state.connected_peers.contains(measuring.order.peers.back().key))
    send_probe(self, setup);
}

void end_connection(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  std::vector<double>& rounds = measuring.rounds_us;
  if (all_sent(rounds)) {
    const auto small = rounds.begin() + kSmallProbes, large = small + kLargeProbes;
    const bool huge = large != rounds.end();
    ConnectionMeasured measured;
    measured.peer = measuring.order.peers.back().key;
    // An answer takes as long as its probe to travel; its own size is negligible.
    std::sort(rounds.begin(), small);
    const double round_us = rounds[kSmallProbes / 2];
    measured.latency_us = round_us / 2;
    const auto hidden = static_cast<double>(measuring.order.hidden_bytes);
    const auto most = static_cast<double>(huge ? kHugeBytes : kLargeBytes);
    const double more_us = *std::min_element(huge ? large : small, rounds.end()) - *rounds.begin();
    if (more_us > 0 && most > hidden) measured.bytes_per_us = (most - hidden) / more_us;
    // The time for the bytes of the small probes counts as bandwidth, not as latency.
    if (measured.bytes_per_us > 0) {
      measured.latency_us = std::max(1.0, (round_us - hidden / measured.bytes_per_us) / 2);
    }
    measuring.result.connections.push_back(measured);
  }
  measuring.order.peers.pop_back();
  next_connection(self, setup);
}

// Returns what the costs depend on beside the model. The memory that is offered is left out,
// because it differs a little at each start.
std::string place_of(const NodeSetup& setup) {
  const double quota = cgroup_limits().cpus.value_or(0);
  return std::string(program_version()) + ' ' + std::to_string(setup.arithmetic) + ' ' +
         setup.memory_pool + ' ' + setup.isa + ' ' + std::to_string(setup.threads) + ' ' +
         std::to_string(quota);
}

MeasuredCosts& kept_costs(Self self, const NodeSetup& setup) {
  std::shared_ptr<MeasuredCosts>& kept = self->state.measured;
  if (!kept) {
    kept = std::make_shared<MeasuredCosts>(setup.home.empty() ? "" : setup.home / "measured");
  }
  return *kept;
}

}  // namespace

void on_measure(Self self, const Setup& setup, Measure order) {
  Measuring& measuring = self->state.measuring.emplace();
  measuring.result.number = order.number;
  net::Transport* transport = setup->link->transport();
  if (transport == nullptr) order.peers.clear();
  std::reverse(order.peers.begin(), order.peers.end());
  for (const PeerAddress& peer : order.peers) {
    transport->dial(peer.key, endpoint_of(setup, peer), net::Channel::kActivations);
  }
  measuring.order = std::move(order);
  if (!setup->device || !measuring.order.compute) return next_connection(self, setup);
  const MeasuredWhat what{place_of(*setup), measuring.order.manifest.model, measuring.order.kv,
                          measuring.order.chunk_rows};
  if (const auto cost = kept_costs(self, *setup).find(what, monotonic_us())) {
    measuring.result.cost = *cost;
    return next_connection(self, setup);
  }
  measuring.computes = true;
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
  const auto report = [me](const Measured& measured) {
    caf::anon_send(caf::actor_cast<node_actor>(me), std::make_shared<const Measured>(measured));
  };
  const auto asked = std::make_shared<const Measure>(measuring.order);
  const std::shared_ptr<MeasuredCosts> kept = self->state.measured;
  fetch_header(setup, asked->manifest, asked->sources, [=](Status status, std::uint64_t) {
    const auto job = [=](Device& device) {
      Measured measured;
      measured.number = asked->number;
      const auto measure = [&]() -> Result<model::LayerCost> {
        TROUPE_RETURN_IF_ERROR(status);
        TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(asked->manifest));
        TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
        model::LayerCostOptions options;
        options.kv_type = kv_type_of(asked->kv);
        options.chunk_rows = std::clamp<std::size_t>(asked->chunk_rows, 1, 512);
        // Measuring may briefly take all the memory that is offered, because less data would fit
        // into caches into which the layers themselves will not fit. The caches of GPUs are larger.
        const std::uint64_t enough = device.accelerator() != nullptr ? 1 << 30 : 128 << 20;
        options.bytes_max = std::min<std::uint64_t>(setup->memory_bytes, enough);
        return model::measure_layers(source->header(), config, device, options);
      };
      const auto cost = measure();
      if (cost) {
        measured.cost = *cost;
        kept->keep(what, *cost, monotonic_us());
      } else {
        measured.outcome = cost.status();
      }
      report(measured);
    };
    caf::anon_send(setup->device, std::make_shared<const DeviceJob>(job));
  });
}

void on_measured(Self self, const Setup& setup, const Measured& measured) {
  auto& measuring = self->state.measuring;
  if (!measuring || measuring->result.number != measured.number) return;  // an earlier order
  measuring->result.outcome = measured.outcome;
  measuring->result.cost = measured.cost;
  measuring->computes = false;
  next_connection(self, setup);
}

void on_probe(Self, const Setup& setup, const net::InFrame& frame, const Probe& probe) {
  const auto send = [setup, peer = frame.peer, number = probe.number] {
    const Status sent = setup->link->send(peer, MessageType::kProbeAnswer, ProbeAnswer{number});
    if (!sent) log(LogLevel::kDebug, "a probe was not answered: " + sent.message());
  };
  send_from_device(setup, send, false);
}

void on_probe_answer(Self self, const Setup& setup, const net::InFrame& frame,
                     const ProbeAnswer& answer) {
  auto& measuring = self->state.measuring;
  if (!measuring || measuring->order.peers.empty()) return;
  const auto sent_us = static_cast<std::int64_t>(answer.number);
  const std::int64_t now = monotonic_us();
  // Ignore late answers to probes of an earlier connection.
  if (frame.peer != measuring->order.peers.back().key || sent_us < measuring->probe ||
      sent_us > now) {
    return;
  }
  measuring->rounds_us.push_back(static_cast<double>(now - sent_us));
  if (!all_sent(measuring->rounds_us)) return send_probe(self, setup);
  end_connection(self, setup);
}

void check_measuring(Self self, const Setup& setup) {
  auto& measuring = self->state.measuring;
  if (!measuring || measuring->computes || measuring->order.peers.empty()) return;
  const std::int64_t now = monotonic_us();
  if (measuring->rounds_us.empty() && measuring->probe <= measuring->connection_since_us) {
    if (self->state.connected_peers.contains(measuring->order.peers.back().key)) {
      send_probe(self, setup);
    } else if (now - measuring->connection_since_us > kOpenUs) {
      end_connection(self, setup);
    }
  } else if (now - measuring->probe > kProbeUs) {
    end_connection(self, setup);
  }
}

}  // namespace troupe::actors::node
