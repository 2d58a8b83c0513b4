#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include <troupe/runtime/net/zmq/outlet.h>
#include <troupe/runtime/net/zmq/parts.h>
#include <troupe/runtime/net/zmq/poller.h>

// What the sockets of one transport share. Destroyed after all of them.

namespace troupe::net::zmq {

// One row of sequence numbers on each channel, for all receivers. A receiver may know us under
// several of our keys (the one that enrolled, then our own), and must not see a number twice. Each
// receiver sees gaps.
class Sequences {
 public:
  std::uint64_t next(Channel channel) { return ++last_[static_cast<std::size_t>(channel)]; }

 private:
  std::array<std::uint64_t, kChannels> last_{};
};

struct Shared {
  Shared(const TransportOptions& from, Handlers to)
      : options(from), handlers(std::move(to)), gate(allowed, counters, from.version) {
    gate.set_cluster(from.cluster);
    for (const auto& [key, role] : from.allowed) allowed.allow(key, role);
    if (from.own_door) allowed.set_own_door(*from.own_door);
  }
  const TransportOptions options;
  const Handlers handlers;
  AtomicCounters counters;  // any thread
  AllowList allowed;        // any thread
  Directory directory;      // any thread
  std::shared_ptr<const WakeUp> wake = std::make_shared<const WakeUp>();
  // The transport's thread only:
  Context context;
  Poller poller;
  Gate gate;
  Sequences sequences;

  // Returns the frame as it goes over the wire now, with the next number of its channel.
  SealedFrame seal(Channel channel, OutFrame frame) {
    wire::Header header = frame.header;
    if (header.cluster == 0) header.cluster = gate.cluster();
    header.version = options.version;
    header.incarnation = options.incarnation;
    header.sequence = sequences.next(channel);
    return {wire::seal(header, frame.body, frame.payload.data), std::move(frame.body),
            std::move(frame.payload)};
  }
  void deliver(InFrame frame) const {
    if (handlers.on_frame) handlers.on_frame(std::move(frame));
  }
};

}  // namespace troupe::net::zmq
