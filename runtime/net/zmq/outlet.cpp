#include <algorithm>
#include <cerrno>
#include <utility>

#include <troupe/runtime/net/zmq/outlet.h>

namespace troupe::net::zmq {
namespace {

std::size_t index(Channel channel) { return static_cast<std::size_t>(channel); }

// Makes a part of the frame. Many bytes are shared, few are copied.
Message body_part(std::vector<std::byte>& body) {
  if (body.size() < kSharedBytesMin) return Message(std::span<const std::byte>(body));
  auto keep = std::make_shared<const std::vector<std::byte>>(std::move(body));
  return Message(Payload{keep, *keep});
}

Message payload_part(const Payload& payload) {
  return payload.data.size() < kSharedBytesMin ? Message(payload.data) : Message(payload);
}

}  // namespace

Flushed flush(Socket& socket, Outlet& outlet, const std::string* routing_id,
              AtomicCounters& counters) {
  constexpr int kFramesMax = 64;
  for (int i = 0; i < kFramesMax && !outlet.queue.empty(); ++i) {
    SealedFrame& frame = outlet.queue.front();
    const bool has_payload = !frame.payload.data.empty();
    const bool has_body = has_payload || !frame.body.empty();
    // Only the first part can find the queue full; the others follow it, or are lost with the
    // connection.
    Message header(std::span<const std::byte>(frame.header));
    int error = 0;
    if (routing_id != nullptr) {
      Message id(*routing_id);
      error = socket.send(id, true);
      if (error == 0) error = socket.send(header, has_body) == 0 ? 0 : EHOSTUNREACH;
    } else {
      error = socket.send(header, has_body);
    }
    if (error == EAGAIN) return Flushed::kBlocked;
    if (error != 0) return Flushed::kGone;
    const std::size_t body_bytes = frame.body.size(), payload_bytes = frame.payload.data.size();
    if (has_body) {
      Message body = body_part(frame.body);
      if (socket.send(body, has_payload) != 0) return Flushed::kGone;
    }
    if (has_payload) {
      Message payload = payload_part(frame.payload);
      if (socket.send(payload, false) != 0) return Flushed::kGone;
    }
    outlet.queue.pop_front();
    outlet.waiting.fetch_sub(1, std::memory_order_relaxed);
    counters.sent(outlet.channel, wire::kHeaderBytes + body_bytes + payload_bytes, payload_bytes);
  }
  return outlet.queue.empty() ? Flushed::kAll : Flushed::kBlocked;
}

OutletPtr Directory::begin_dial(const PublicKey& peer, Channel channel, std::uint64_t dial) {
  std::lock_guard lock(mutex_);
  Way& way = ways_[peer][index(channel)];
  if (way.dial != 0) return nullptr;
  way.dial = dial;
  way.dialled = std::make_shared<Outlet>(peer, channel, 0);
  return way.dialled;
}

void Directory::end_dial(const PublicKey& peer, Channel channel, std::uint64_t dial) {
  std::lock_guard lock(mutex_);
  const auto entry = ways_.find(peer);
  if (entry == ways_.end() || entry->second[index(channel)].dial != dial) return;
  entry->second[index(channel)].dial = 0;
  entry->second[index(channel)].dialled.reset();
  tidy(entry);
}

void Directory::end_dials(const PublicKey& peer) {
  std::lock_guard lock(mutex_);
  const auto entry = ways_.find(peer);
  if (entry == ways_.end()) return;
  for (Way& way : entry->second) {
    way.dial = 0;
    way.dialled.reset();
  }
  tidy(entry);
}

void Directory::set_dialled(const PublicKey& peer, Channel channel, std::uint64_t dial,
                            OutletPtr outlet) {
  std::lock_guard lock(mutex_);
  const auto entry = ways_.find(peer);
  if (entry == ways_.end() || entry->second[index(channel)].dial != dial) return;
  entry->second[index(channel)].dialled = std::move(outlet);
}

void Directory::spoke(const OutletPtr& outlet) {
  std::lock_guard lock(mutex_);
  auto& accepted = ways_[outlet->peer][index(outlet->channel)].accepted;
  const auto found = std::find(accepted.begin(), accepted.end(), outlet);
  if (found == accepted.end()) {
    accepted.push_back(outlet);
  } else {
    std::rotate(found, found + 1, accepted.end());
  }
}

bool Directory::left(const OutletPtr& outlet) {
  std::lock_guard lock(mutex_);
  const auto entry = ways_.find(outlet->peer);
  if (entry == ways_.end()) return false;
  auto& accepted = entry->second[index(outlet->channel)].accepted;
  const bool was_there = std::erase(accepted, outlet) != 0;
  const bool last = was_there && accepted.empty();
  tidy(entry);
  return last;
}

void Directory::forget(const PublicKey& peer) {
  std::lock_guard lock(mutex_);
  ways_.erase(peer);
  ++forgotten_;
}

OutletPtr Directory::find(const PublicKey& peer, Channel channel, std::uint64_t incarnation) const {
  std::lock_guard lock(mutex_);
  const auto entry = ways_.find(peer);
  if (entry == ways_.end()) return nullptr;
  const Way& way = entry->second[index(channel)];
  if (incarnation != 0) {
    for (auto it = way.accepted.rbegin(); it != way.accepted.rend(); ++it) {
      if ((*it)->incarnation == incarnation) return *it;
    }
    return nullptr;
  }
  if (way.dialled && way.dialled->connected) return way.dialled;
  if (!way.accepted.empty()) return way.accepted.back();
  return way.dialled;
}

void Directory::tidy(std::map<PublicKey, Ways>::iterator entry) {
  for (const Way& way : entry->second) {
    if (!way.empty()) return;
  }
  ways_.erase(entry);
}

}  // namespace troupe::net::zmq
