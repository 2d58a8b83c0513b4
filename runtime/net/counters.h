#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include <troupe/runtime/net/transport.h>

// A transport's counters, which its thread writes and any thread reads.

namespace troupe::net {

struct AtomicCounters {
  using Counter = std::atomic<std::uint64_t>;
  struct Flow {
    Counter frames{0}, bytes{0};
  };
  std::array<Flow, kChannels> in, out;
  Counter rejected_header{0}, rejected_checksum{0}, rejected_sequence{0}, rejected_cluster{0};
  Counter rejected_version{0}, rejected_revoked{0}, refused_keys{0}, send_overflow{0};
  Counter closed_unproven{0}, closed_silent{0}, paced{0}, reached{0};
  Counter activation_bytes_out{0}, bulk_bytes_out{0};

  static void add(Counter& counter, std::uint64_t value = 1) {
    counter.fetch_add(value, std::memory_order_relaxed);
  }
  // Counts a whole frame; `payload_bytes` are counted in `bytes`, too.
  void received(Channel channel, std::uint64_t bytes) {
    Flow& flow = in[static_cast<std::size_t>(channel)];
    add(flow.frames);
    add(flow.bytes, bytes);
  }
  void sent(Channel channel, std::uint64_t bytes, std::uint64_t payload_bytes) {
    Flow& flow = out[static_cast<std::size_t>(channel)];
    add(flow.frames);
    add(flow.bytes, bytes);
    if (channel == Channel::kActivations) add(activation_bytes_out, payload_bytes);
    if (channel == Channel::kBulk) add(bulk_bytes_out, payload_bytes);
  }
  Counters snapshot() const {
    Counters now;
    for (std::size_t i = 0; i < kChannels; ++i) {
      now.in[i] = {in[i].frames, in[i].bytes};
      now.out[i] = {out[i].frames, out[i].bytes};
      now.frames_in += in[i].frames;
      now.frames_out += out[i].frames;
      now.bytes_in += in[i].bytes;
      now.bytes_out += out[i].bytes;
    }
    now.rejected_header = rejected_header;
    now.rejected_checksum = rejected_checksum;
    now.rejected_sequence = rejected_sequence;
    now.rejected_cluster = rejected_cluster;
    now.rejected_version = rejected_version;
    now.rejected_revoked = rejected_revoked;
    now.refused_keys = refused_keys;
    now.closed_unproven = closed_unproven;
    now.closed_silent = closed_silent;
    now.paced = paced;
    now.reached = reached;
    now.send_overflow = send_overflow;
    now.activation_bytes_out = activation_bytes_out;
    now.bulk_bytes_out = bulk_bytes_out;
    return now;
  }
};

}  // namespace troupe::net
