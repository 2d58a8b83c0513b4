#pragma once

#include <unordered_map>

#include <troupe/runtime/net/zmq/outlet.h>
#include <troupe/runtime/net/zmq/parts.h>
#include <troupe/runtime/net/zmq/poller.h>

// What the sockets of one transport share. Destroyed after all of them.

namespace troupe::net::zmq {

struct Shared {
  Shared(const TransportOptions& from, Handlers to)
      : options(from), handlers(std::move(to)), gate(allowed, counters, from.version) {
    gate.set_cluster(from.cluster);
    for (const auto& [key, role] : from.allowed) allowed.allow(key, role);
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

  void deliver(InFrame frame) const {
    if (handlers.on_frame) handlers.on_frame(std::move(frame));
  }
};

}  // namespace troupe::net::zmq
