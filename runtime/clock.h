#pragma once

#include <cstdint>

// The monotonic clock by which every wait, expiry and measurement is timed. Any thread.

namespace troupe {

// Returns the microseconds since some moment in the past.
std::int64_t monotonic_us();

// Returns the wall-clock time in milliseconds since 1970, for people, and to compare the clocks of
// machines.
std::int64_t unix_now_ms();

// While an object exists, monotonic_us() returns its time, so that tests can simulate a cluster on
// virtual time. Only one may live at a time, and threads that wait on the operating system do not
// obey it.
class VirtualClock {
 public:
  explicit VirtualClock(std::int64_t now_us);
  ~VirtualClock();
  VirtualClock(const VirtualClock&) = delete;
  VirtualClock& operator=(const VirtualClock&) = delete;
  void set(std::int64_t now_us);
};

}  // namespace troupe
