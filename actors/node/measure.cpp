#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include <troupe/actors/node/shell.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/local/bench.h>
#include <troupe/model/local/measure_layers.h>

// What layers would cost here and what the ways to other nodes carry: wire, threads and actors, as
// a step goes from one device's thread to another's. The layers first, then the ways one after the
// other: what computes at one end of a way slows it.

namespace troupe::actors::node {
namespace {

constexpr std::size_t kSmallProbes = 12, kLargeProbes = 2, kHugeProbes = 3;
constexpr std::size_t kLargeBytes = std::size_t{64} << 10, kHugeBytes = std::size_t{1} << 20;
// A way that carries the large ones faster than this tells little by them: chance is as long.
constexpr double kHugeBelowUs = 5'000;
constexpr std::chrono::milliseconds kPause{2};
// A way that has not opened, or a probe without an answer: it is left out.
constexpr std::int64_t kWayOpenUs = 1'000'000, kProbeUs = 2'000'000;

void answer(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  const Status sent = setup->link->send(setup->head, MessageType::kMeasured, measuring.result);
  if (!sent) log(LogLevel::kWarning, "cannot tell what was measured: " + sent.message());
  self->state.measuring.reset();
}

// Says it on the device's thread after a pause, as a stage does that has computed: what sleeps must
// be woken on the way.
void say_from_device(const Setup& setup, const std::function<void()>& say, bool pause) {
  if (!setup->device) return say();
  const auto job = [say, pause](Device&) {
    if (pause) std::this_thread::sleep_for(kPause);
    say();
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
  const auto say = [setup, peer, zeros] {
    // Its number is when it was sent.
    const Probe probe{static_cast<std::uint64_t>(monotonic_us())};
    const Status sent =
        setup->link->send(peer, MessageType::kProbe, probe, 0, 0, net::Payload{zeros, *zeros});
    if (!sent) log(LogLevel::kDebug, "a probe was not sent: " + sent.message());
  };
  say_from_device(setup, say, true);
}

// The next way, or the answer when there is none.
void next_way(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  measuring.rounds_us.clear();
  measuring.way_since_us = monotonic_us();
  if (measuring.order.peers.empty()) return answer(self, setup);
  if (self->state.open_ways.contains(measuring.order.peers.back().key)) send_probe(self, setup);
}

void end_way(Self self, const Setup& setup) {
  Measuring& measuring = *self->state.measuring;
  std::vector<double>& rounds = measuring.rounds_us;
  if (all_sent(rounds)) {
    const auto small = rounds.begin() + kSmallProbes, large = small + kLargeProbes;
    const bool huge = large != rounds.end();
    WayMeasured way;
    way.peer = measuring.order.peers.back().key;
    // The answer comes the same way back, and weighs nothing.
    std::sort(rounds.begin(), small);
    const double round_us = rounds[kSmallProbes / 2];
    way.latency_us = round_us / 2;
    const auto hidden = static_cast<double>(measuring.order.hidden_bytes);
    const auto most = static_cast<double>(huge ? kHugeBytes : kLargeBytes);
    const double more_us = *std::min_element(huge ? large : small, rounds.end()) - *rounds.begin();
    if (more_us > 0 && most > hidden) way.bytes_per_us = (most - hidden) / more_us;
    // What the small ones carried is counted with their bytes.
    if (way.bytes_per_us > 0) {
      way.latency_us = std::max(1.0, (round_us - hidden / way.bytes_per_us) / 2);
    }
    measuring.result.ways.push_back(way);
  }
  measuring.order.peers.pop_back();
  next_way(self, setup);
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
  if (!setup->device || !measuring.order.compute) return next_way(self, setup);
  measuring.computes = true;
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
  const auto report = [me](const Measured& measured) {
    caf::anon_send(caf::actor_cast<node_actor>(me), std::make_shared<const Measured>(measured));
  };
  const auto asked = std::make_shared<const Measure>(measuring.order);
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
        // For a moment, all that is offered: less would lie in caches that the layers will not fit.
        options.bytes_max = std::min<std::uint64_t>(setup->memory_bytes, 128 << 20);
        return model::measure_layers(source->header(), config, device, options);
      };
      const auto cost = measure();
      if (cost) {
        measured.cost = *cost;
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
  if (!measuring || measuring->result.number != measured.number) return;  // of an earlier one
  measuring->result.outcome = measured.outcome;
  measuring->result.cost = measured.cost;
  measuring->computes = false;
  next_way(self, setup);
}

void on_probe(Self, const Setup& setup, const net::InFrame& frame, const Probe& probe) {
  const auto say = [setup, peer = frame.peer, number = probe.number] {
    const Status sent = setup->link->send(peer, MessageType::kProbeAnswer, ProbeAnswer{number});
    if (!sent) log(LogLevel::kDebug, "a probe was not answered: " + sent.message());
  };
  say_from_device(setup, say, false);
}

void on_probe_answer(Self self, const Setup& setup, const net::InFrame& frame,
                     const ProbeAnswer& answer) {
  auto& measuring = self->state.measuring;
  if (!measuring || measuring->order.peers.empty()) return;
  const auto sent_us = static_cast<std::int64_t>(answer.number);
  const std::int64_t now = monotonic_us();
  // Of this way, and not an earlier one's that comes late.
  if (frame.peer != measuring->order.peers.back().key || sent_us < measuring->probe ||
      sent_us > now) {
    return;
  }
  measuring->rounds_us.push_back(static_cast<double>(now - sent_us));
  if (!all_sent(measuring->rounds_us)) return send_probe(self, setup);
  end_way(self, setup);
}

void look_after_measuring(Self self, const Setup& setup) {
  auto& measuring = self->state.measuring;
  if (!measuring || measuring->computes || measuring->order.peers.empty()) return;
  const std::int64_t now = monotonic_us();
  if (measuring->rounds_us.empty() && measuring->probe <= measuring->way_since_us) {
    if (self->state.open_ways.contains(measuring->order.peers.back().key)) {
      send_probe(self, setup);
    } else if (now - measuring->way_since_us > kWayOpenUs) {
      end_way(self, setup);
    }
  } else if (now - measuring->probe > kProbeUs) {
    end_way(self, setup);
  }
}

}  // namespace troupe::actors::node
