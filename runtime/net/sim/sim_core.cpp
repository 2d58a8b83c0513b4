#include <algorithm>
#include <cstring>

#include <troupe/runtime/net/sim/sim_core.h>
#include <troupe/runtime/net/sim/sim_network.h>

namespace troupe::net::sim {
namespace {

constexpr int kBackoffFirstMs = 50;
constexpr int kBackoffLastMs = 2000;
constexpr int kDroppedMax = 3;

}  // namespace

Core::Core(SimNetwork& of, SimHost on, const TransportOptions& with, Handlers to)
    : network(of),
      host(on),
      options(with),
      handlers(std::move(to)),
      gate(allowed, counters, with.version) {
  gate.set_cluster(with.cluster);
  for (const auto& [key, role] : with.allowed) allowed.allow(key, role);
}

// ---- dialling --------------------------------------------------------------------------------

Dial* Core::find(const Way& way, std::uint64_t number) {
  const auto found = dials.find(way);
  return found == dials.end() || found->second.number != number ? nullptr : &found->second;
}

void Core::dial(const PublicKey& peer, const Endpoint& endpoint, Channel channel,
                const std::optional<KeyPair>& as) {
  const Way way{peer, channel};
  if (const auto known = dials.find(way); known != dials.end()) {
    known->second.backoff_ms = kBackoffFirstMs;
    if (!known->second.paused) return;
    try_later(way, known->second, network.latency());
    return;
  }
  Dial made;
  const std::uint64_t number = made.number = ++dials_made;
  made.endpoint = endpoint;
  made.shown = as.value_or(options.identity).public_key;
  dials.emplace(way, std::move(made));
  network.at(network.now_us_ + network.latency(), host, [self = weak_from_this(), way, number] {
    if (const auto core = self.lock()) core->attempt(way, number);
  });
}

void Core::try_later(const Way& way, Dial& dial, std::int64_t pause_us) {
  dial.paused = true;
  network.at(network.now_us_ + pause_us, host,
             [self = weak_from_this(), way, number = dial.number, pause = ++dial.pauses] {
               const auto core = self.lock();
               Dial* const now = core ? core->find(way, number) : nullptr;
               // Another call may have ended the pause in the meantime.
               if (now == nullptr || !now->paused || now->pauses != pause) return;
               now->paused = false;
               core->attempt(way, number);
             });
}

void Core::attempt(const Way& way, std::uint64_t number) {
  Dial* const dial = find(way, number);
  if (dial == nullptr) return;
  Core* const other = network.listener(dial->endpoint);
  const auto answer = [&](std::int64_t after_us, const Status& why, bool final = false) {
    network.at(network.now_us_ + after_us, host,
               [self = weak_from_this(), way, number, why, final] {
                 if (const auto core = self.lock()) core->lost(way, number, why, final);
               });
  };
  const std::string at = to_string(dial->endpoint);
  const bool walled = other != nullptr && network.is_walled_in(other->host);
  network.faults_.walled += walled;
  if (other != nullptr &&
      (walled || network.is_frozen(other->host) || network.is_cut(host, other->host) ||
       network.is_cut(other->host, host))) {
    return answer(options.handshake_timeout_ms * 1000,
                  Status(Code::kUnavailable, "no answer from " + at));
  }
  if (other == nullptr) {
    return answer(network.latency(), Status(Code::kUnavailable, "nobody listens at " + at));
  }
  if (other->options.identity.public_key != way.first) {
    const bool sure = ++dial->dropped >= kDroppedMax;
    return answer(network.latency(), Status(sure ? Code::kPermissionDenied : Code::kUnavailable,
                                            at + " does not prove to own the key"));
  }
  if (!other->allowed.role(dial->shown)) {
    ++network.faults_.refused;
    other->counters.add(other->counters.refused_keys);
    return answer(network.latency(), Status(Code::kPermissionDenied, at + " refused our key"),
                  true);
  }
  const auto connection = std::make_shared<Connection>();
  connection->channel = way.second;
  connection->dialler = dial->shown;
  connection->listener = way.first;
  connection->ends[0].station = weak_from_this();
  connection->ends[0].host = host;
  connection->ends[1].station = other->weak_from_this();
  connection->ends[1].host = other->host;
  network.connections_.push_back(connection);
  network.at(network.now_us_ + network.latency(), host,
             [self = weak_from_this(), way, number, connection] {
               if (const auto core = self.lock()) core->connected(way, number, connection);
             });
}

void Core::connected(const Way& way, std::uint64_t number, const ConnectionPtr& connection) {
  Dial* const dial = find(way, number);
  const bool wanted = dial != nullptr && connection->ends[0].open;
  if (!wanted) {
    network.close(connection, 0, Status(Code::kUnavailable, "not wanted any more"), true);
    if (dial != nullptr) lost(way, number, Status(Code::kUnavailable, "it broke at once"));
    return;
  }
  dial->connection = connection;
  dial->first = false;
  dial->backoff_ms = kBackoffFirstMs;
  dial->dropped = 0;
  for (OutFrame& frame : std::exchange(dial->waiting, {})) put(connection, 0, std::move(frame));
  if (handlers.on_connected) handlers.on_connected(way.first, way.second);
  network.look_at_silence(connection);
}

void Core::lost(const Way& way, std::uint64_t number, const Status& why, bool final) {
  Dial* const dial = find(way, number);
  if (dial == nullptr) return;
  dial->connection = nullptr;
  dial->first = false;
  dial->waiting.clear();
  if (final) {
    dials.erase(way);
  } else {
    const std::int64_t pause_us = dial->backoff_ms * 1000;
    dial->backoff_ms = std::min(2 * dial->backoff_ms, kBackoffLastMs);
    const auto jitter = network.draw(static_cast<std::uint64_t>(pause_us / 4 + 1));
    try_later(way, *dial, pause_us + static_cast<std::int64_t>(jitter));
  }
  if (handlers.on_disconnected) handlers.on_disconnected(way.first, way.second, why);
}

void Core::disconnect(const PublicKey& peer) {
  for (const Channel channel : {Channel::kControl, Channel::kActivations, Channel::kBulk}) {
    auto found = dials.extract({peer, channel});
    if (found.empty() || !found.mapped().connection) continue;
    network.close(found.mapped().connection, 0, Status(), true);
  }
}

void Core::revoke(const PublicKey& key) {
  allowed.revoke(key);
  disconnect(key);
  std::erase_if(accepted, [&](const ConnectionPtr& one) { return one->dialler == key; });
  gate.forget(key);
}

void Core::shut_down() {
  dials.clear();
  accepted.clear();
  const auto all = network.connections_;
  for (const ConnectionPtr& connection : all) {
    for (int i = 0; i < 2; ++i) {
      auto& end = connection->ends[static_cast<std::size_t>(i)];
      if (end.station.lock().get() != this || !end.open) continue;
      end.station.reset();  // this process is not notified
      network.close(connection, i, Status(), true);
    }
  }
}

// ---- frames ----------------------------------------------------------------------------------

Status Core::send(const PublicKey& peer, Channel channel, OutFrame frame) {
  const Status nowhere(Code::kUnavailable, std::string("no ") + channel_name(channel) +
                                               " connection to the peer " + to_z85(peer));
  const auto dial = dials.find({peer, channel});
  if (frame.to_incarnation == 0 && dial != dials.end() && dial->second.connection) {
    put(dial->second.connection, 0, std::move(frame));
    return Status::ok();
  }
  for (auto it = accepted.rbegin(); it != accepted.rend(); ++it) {
    const ConnectionPtr connection = *it;
    if (connection->dialler != peer || connection->channel != channel) continue;
    if (frame.to_incarnation != 0 && frame.to_incarnation != connection->incarnation) continue;
    put(connection, 1, std::move(frame));
    return Status::ok();
  }
  if (frame.to_incarnation != 0 || dial == dials.end() || !dial->second.first) return nowhere;
  dial->second.waiting.push_back(std::move(frame));
  return Status::ok();
}

void Core::put(const ConnectionPtr& connection, int from, OutFrame frame) {
  const SimHost to = connection->ends[static_cast<std::size_t>(1 - from)].host;
  if (network.on_sent) network.on_sent(host, to, frame);
  wire::Header header = frame.header;
  if (header.cluster == 0) header.cluster = gate.cluster();
  header.version = options.version;
  header.incarnation = options.incarnation;
  header.sequence = ++sequences[static_cast<std::size_t>(connection->channel)];
  Frame out;
  out.header = wire::seal(header, frame.body, frame.payload.data);
  out.body = std::move(frame.body);
  out.payload.assign(frame.payload.data.begin(), frame.payload.data.end());
  counters.sent(connection->channel, wire::kHeaderBytes + out.body.size() + out.payload.size(),
                out.payload.size());
  network.transmit(connection, from, std::move(out));
}

void Core::receive(const ConnectionPtr& connection, int end, Frame& raw) {
  const bool dialled = end == 0;
  Source source{dialled ? connection->listener : connection->dialler, connection->channel,
                std::nullopt, dialled ? 0 : connection->incarnation};
  if (dialled) {
    source.role_unlisted = connection->channel == Channel::kControl ? Role::kHead : Role::kNode;
  }
  RawFrame view;
  view.parts = !raw.payload.empty() ? 3 : !raw.body.empty() ? 2 : 1;
  view.header = raw.header;
  view.body = raw.body;
  view.payload = raw.payload;
  Status other_version;
  auto frame = gate.admit(source, view, &other_version);
  if (!frame) return;
  network.faults_.damaged_taken += raw.damaged;
  if (raw.taken) network.faults_.repeated_taken += std::exchange(*raw.taken, true);
  if (!raw.payload.empty()) {
    auto keep = std::make_shared<const std::vector<std::byte>>(raw.payload);
    frame->payload = {keep, *keep};
  }
  if (!dialled) {
    connection->incarnation = frame->header.incarnation;
    std::erase(accepted, connection);
    accepted.push_back(connection);
  }
  if (network.on_admitted) {
    network.on_admitted(connection->ends[static_cast<std::size_t>(1 - end)].host, host, *frame);
  }
  if (handlers.on_frame) handlers.on_frame(std::move(*frame));
}

void Core::closed(const ConnectionPtr& connection, int end, const Status& why) {
  if (end == 0) {
    const Way way{connection->listener, connection->channel};
    const auto dial = dials.find(way);
    if (dial != dials.end() && dial->second.connection == connection) {
      lost(way, dial->second.number, why);
    }
    return;
  }
  if (std::erase(accepted, connection) == 0)
    return;  // the connection never spoke, or its key was revoked
  const bool last = std::none_of(accepted.begin(), accepted.end(), [&](const auto& one) {
    return one->dialler == connection->dialler && one->channel == connection->channel;
  });
  if (last && handlers.on_peer_left) {
    handlers.on_peer_left(connection->dialler, connection->channel);
  }
}

}  // namespace troupe::net::sim

namespace troupe::net {
namespace {

class SimTransport final : public Transport {
 public:
  explicit SimTransport(std::shared_ptr<sim::Core> core) : core_(std::move(core)) {}
  ~SimTransport() override { core_->shut_down(); }
  void allow(const PublicKey& key, Role role) override { core_->allowed.allow(key, role); }
  void revoke(const PublicKey& key) override { core_->revoke(key); }
  void dial(const PublicKey& peer, const Endpoint& endpoint, Channel channel,
            const std::optional<KeyPair>& as) override {
    core_->dial(peer, endpoint, channel, as);
  }
  void disconnect(const PublicKey& peer) override { core_->disconnect(peer); }
  Status send(const PublicKey& peer, Channel channel, OutFrame frame) override {
    return core_->send(peer, channel, std::move(frame));
  }
  void set_cluster(std::uint64_t cluster) override { core_->gate.set_cluster(cluster); }
  Counters counters() const override { return core_->counters.snapshot(); }
  std::optional<Endpoint> bound() const override { return core_->options.listen; }

 private:
  std::shared_ptr<sim::Core> core_;
};

}  // namespace

std::unique_ptr<Transport> SimNetwork::open(SimHost host, const TransportOptions& options,
                                            Handlers handlers) {
  const auto core = std::make_shared<sim::Core>(*this, host, options, std::move(handlers));
  if (options.listen) listeners_[to_string(*options.listen)] = core;
  return std::make_unique<SimTransport>(core);
}

}  // namespace troupe::net
