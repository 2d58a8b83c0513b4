#include <algorithm>

#include <troupe/runtime/net/sim/sim_network.h>

namespace troupe::net {

using sim::Frame;

namespace {

// The time that the sockets' options allow (runtime/net/zmq/socket.cpp), and up to a second until
// the next ping.
constexpr std::int64_t kPingUs = 1'000'000;
constexpr std::array<std::int64_t, kChannels> kSilenceUs = {6'000'000, 3'000'000, 6'000'000};

}  // namespace

SimFaults& SimFaults::operator+=(const SimFaults& other) {
  frames += other.frames;
  duplicated += other.duplicated;
  reordered += other.reordered;
  damaged += other.damaged;
  replayed += other.replayed;
  lost += other.lost;
  held += other.held;
  broken += other.broken;
  timed_out += other.timed_out;
  refused += other.refused;
  walled += other.walled;
  damaged_taken += other.damaged_taken;
  repeated_taken += other.repeated_taken;
  return *this;
}

SimNetwork::SimNetwork(const SimOptions& options, std::int64_t now_us)
    : options_(options), random_(options.seed), now_us_(now_us) {}
SimNetwork::~SimNetwork() = default;

void SimNetwork::at(std::int64_t due_us, SimHost host, Action action) {
  due_.push({due_us, ++events_, host, std::make_shared<Action>(std::move(action))});
}

std::int64_t SimNetwork::latency() {
  return options_.latency_us +
         static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(options_.jitter_us) + 1));
}

std::optional<std::int64_t> SimNetwork::next_us() const {
  if (due_.empty()) return std::nullopt;
  return due_.top().due_us;
}

void SimNetwork::advance(std::int64_t now_us) {
  while (!due_.empty() && due_.top().due_us <= now_us) {
    Event event = due_.top();
    due_.pop();
    now_us_ = std::max(now_us_, event.due_us);
    if (frozen_.contains(event.host)) {
      waiting_[event.host].push_back(std::move(event));
    } else {
      (*event.action)();
    }
  }
  now_us_ = std::max(now_us_, now_us);
}

// ---- faults ----------------------------------------------------------------------------------

void SimNetwork::cut(SimHost from, SimHost to) {
  cuts_.insert({from, to});
  look_at_all();
}

void SimNetwork::heal(SimHost from, SimHost to) {
  cuts_.erase({from, to});
  look_at_all();
}

void SimNetwork::heal_all() {
  cuts_.clear();
  look_at_all();
}

void SimNetwork::freeze(SimHost host) {
  frozen_.insert(host);
  look_at_all();
}

void SimNetwork::thaw(SimHost host) {
  if (frozen_.erase(host) == 0) return;
  auto events = waiting_.extract(host);
  if (!events.empty()) {
    // Events keep the order in which they were due. (Of two at the same time, the one with the
    // lower number is first, and frames that a cut held back have higher numbers than later ones.)
    for (Event& event : events.mapped()) {
      event.due_us = now_us_;
      event.number = ++events_;
      due_.push(std::move(event));
    }
  }
  look_at_all();
}

void SimNetwork::break_between(SimHost a, SimHost b) {
  const auto all = connections_;
  for (const ConnectionPtr& connection : all) {
    const auto& ends = connection->ends;
    const bool meant =
        (ends[0].host == a && ends[1].host == b) || (ends[0].host == b && ends[1].host == a);
    if (!meant || (!ends[0].open && !ends[1].open)) continue;
    ++faults_.broken;
    ++connection->life;
    for (int end = 0; end < 2; ++end) {
      at(now_us_ + latency(), ends[static_cast<std::size_t>(end)].host, [this, connection, end] {
        close(connection, end, Status(Code::kUnavailable, "the connection broke"), false);
      });
    }
  }
}

// ---- silence ---------------------------------------------------------------------------------

bool SimNetwork::hears_nothing(const sim::Connection& connection, int end) const {
  const SimHost other = connection.ends[static_cast<std::size_t>(1 - end)].host;
  const SimHost self = connection.ends[static_cast<std::size_t>(end)].host;
  return is_cut(other, self) || frozen_.contains(other);
}

void SimNetwork::look_at_all() {
  const auto all = connections_;
  for (const ConnectionPtr& connection : all) look_at_silence(connection);
}

void SimNetwork::look_at_silence(const ConnectionPtr& connection) {
  for (int i = 0; i < 2; ++i) {
    auto& end = connection->ends[static_cast<std::size_t>(i)];
    if (!end.open) continue;
    const bool silent = hears_nothing(*connection, i);
    if (silent && !end.silent) expect_word(connection, i);
    if (silent != end.silent) ++end.silences;
    end.silent = silent;
    const SimHost other = connection->ends[static_cast<std::size_t>(1 - i)].host;
    if (is_cut(other, end.host)) continue;
    // The frames that waited are delivered now, in order.
    for (auto& frame : std::exchange(end.held, {})) {
      at(now_us_, end.host, [this, connection, i, frame] { arrive(connection, i, frame); });
    }
  }
}

void SimNetwork::expect_word(const ConnectionPtr& connection, int i) {
  const auto patience = kSilenceUs[static_cast<std::size_t>(connection->channel)];
  const std::uint64_t silences = connection->ends[static_cast<std::size_t>(i)].silences + 1;
  at(now_us_ + patience + static_cast<std::int64_t>(draw(kPingUs)),
     connection->ends[static_cast<std::size_t>(i)].host, [this, connection, i, silences] {
       auto& end = connection->ends[static_cast<std::size_t>(i)];
       if (!end.open || !end.silent || end.silences != silences) return;
       ++faults_.timed_out;
       close(connection, i, Status(Code::kUnavailable, "nothing was heard for too long"), true);
     });
}

// ---- frames ----------------------------------------------------------------------------------

void SimNetwork::transmit(const ConnectionPtr& connection, int from, Frame frame) {
  const int to = 1 - from;
  auto& end = connection->ends[static_cast<std::size_t>(to)];
  frame.life = connection->life;
  std::int64_t due_us = std::max(end.last_due_us, now_us_ + latency());
  const bool overtakes =
      !frame.end && connection->channel == Channel::kActivations && chance(options_.reorder);
  auto shared = std::make_shared<Frame>(std::move(frame));
  if (!shared->end) {
    ++faults_.frames;
    const bool twice = chance(options_.duplicate), again = chance(options_.replay);
    if (twice || again) {
      shared->taken = std::make_shared<bool>(false);
      auto copy = std::make_shared<Frame>(*shared);
      ++(twice ? faults_.duplicated : faults_.replayed);
      const std::uint64_t later = twice ? 3'000 : 800'000;
      put_on_wire(connection, from, copy, due_us + 1 + static_cast<std::int64_t>(draw(later)));
    }
    if (chance(options_.damage)) {
      shared->damaged = true;
      ++faults_.damaged;
      std::vector<std::byte*> bytes;
      for (std::byte& byte : shared->header) bytes.push_back(&byte);
      for (std::byte& byte : shared->body) bytes.push_back(&byte);
      for (std::byte& byte : shared->payload) bytes.push_back(&byte);
      *bytes[draw(bytes.size())] ^= static_cast<std::byte>(1 + draw(255));
    }
  }
  if (overtakes) {
    // Later frames overtake this one.
    ++faults_.reordered;
    due_us += static_cast<std::int64_t>(draw(8'000));
  } else {
    end.last_due_us = due_us;
  }
  put_on_wire(connection, from, std::move(shared), due_us);
}

void SimNetwork::put_on_wire(const ConnectionPtr& connection, int from,
                             std::shared_ptr<Frame> frame, std::int64_t due_us) {
  const int to = 1 - from;
  const SimHost host = connection->ends[static_cast<std::size_t>(to)].host;
  at(due_us, host, [this, connection, to, frame] { arrive(connection, to, frame); });
}

void SimNetwork::arrive(const ConnectionPtr& connection, int to,
                        const std::shared_ptr<Frame>& frame) {
  auto& end = connection->ends[static_cast<std::size_t>(to)];
  if (!end.open || (frame->life != connection->life && !frame->end)) {
    faults_.lost += !frame->end;
    return;
  }
  const SimHost other = connection->ends[static_cast<std::size_t>(1 - to)].host;
  if (is_cut(other, end.host)) {
    ++faults_.held;
    end.held.push_back(frame);
    return;
  }
  if (frame->end) {
    close(connection, to, Status(Code::kUnavailable, "the other end closed it"), false);
    return;
  }
  const auto station = end.station.lock();
  if (!station) return;
  station->receive(connection, to, *frame);
  if (frame->damaged && end.open) {
    // The cipher would do the same: nothing on this connection can be trusted any more.
    ++faults_.broken;
    ++connection->life;
    close(connection, to, Status(Code::kUnavailable, "a frame was damaged"), true);
  }
}

void SimNetwork::close(const ConnectionPtr& connection, int i, const Status& why, bool tell) {
  auto& end = connection->ends[static_cast<std::size_t>(i)];
  if (!end.open) return;
  end.open = false;
  for (const auto& frame : end.held) faults_.lost += !frame->end;
  end.held.clear();
  auto& other = connection->ends[static_cast<std::size_t>(1 - i)];
  if (tell && other.open) {
    Frame last;
    last.end = true;
    transmit(connection, i, std::move(last));
  }
  if (!other.open) std::erase(connections_, connection);
  if (const auto station = end.station.lock()) station->closed(connection, i, why);
}

sim::Core* SimNetwork::listener(const Endpoint& endpoint) const {
  const auto found = listeners_.find(to_string(endpoint));
  if (found == listeners_.end()) return nullptr;
  return found->second.lock().get();
}

}  // namespace troupe::net
