#pragma once

#include <cstdint>

// The monotonic clock by which everything is timed that waits, expires or is measured. Any thread.

namespace troupe {

// Microseconds since some moment in the past.
std::int64_t monotonic_us();

// While one lives, monotonic_us() is what it says: tests that simulate a cluster on virtual time.
// One at a time; threads that wait on the operating system do not heed it.
class VirtualClock {
 public:
  explicit VirtualClock(std::int64_t now_us);
  ~VirtualClock();
  VirtualClock(const VirtualClock&) = delete;
  VirtualClock& operator=(const VirtualClock&) = delete;
  void set(std::int64_t now_us);
};

}  // namespace troupe
