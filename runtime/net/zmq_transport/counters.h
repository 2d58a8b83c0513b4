#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include <troupe/runtime/net/transport.h>

// The transport's counters, written by its threads and read by any; and its clock.

namespace troupe::net::zmq {

inline std::int64_t monotonic_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
inline std::int64_t monotonic_ms() { return monotonic_us() / 1000; }

struct AtomicCounters {
  using Counter = std::atomic<std::uint64_t>;
  Counter frames_in{0}, frames_out{0}, bytes_in{0}, bytes_out{0};
  Counter rejected_header{0}, rejected_checksum{0}, rejected_sequence{0}, rejected_cluster{0};
  Counter rejected_version{0}, rejected_revoked{0}, refused_keys{0}, send_overflow{0};
  Counter activation_bytes_out{0}, bulk_bytes_out{0};

  static void add(Counter& counter, std::uint64_t value = 1) {
    counter.fetch_add(value, std::memory_order_relaxed);
  }
  Counters snapshot() const {
    Counters out;
    out.frames_in = frames_in;
    out.frames_out = frames_out;
    out.bytes_in = bytes_in;
    out.bytes_out = bytes_out;
    out.rejected_header = rejected_header;
    out.rejected_checksum = rejected_checksum;
    out.rejected_sequence = rejected_sequence;
    out.rejected_cluster = rejected_cluster;
    out.rejected_version = rejected_version;
    out.rejected_revoked = rejected_revoked;
    out.refused_keys = refused_keys;
    out.send_overflow = send_overflow;
    out.activation_bytes_out = activation_bytes_out;
    out.bulk_bytes_out = bulk_bytes_out;
    return out;
  }
};

}  // namespace troupe::net::zmq
