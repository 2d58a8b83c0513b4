#include <atomic>
#include <chrono>

#include <troupe/runtime/clock.h>
#include <troupe/runtime/status.h>

namespace troupe {
namespace {

constexpr std::int64_t kReal = -1;
std::atomic<std::int64_t> virtual_us{kReal};

}  // namespace

std::int64_t monotonic_us() {
  const std::int64_t told = virtual_us.load(std::memory_order_relaxed);
  if (told != kReal) return told;
  using namespace std::chrono;
  return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

std::int64_t unix_now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

VirtualClock::VirtualClock(std::int64_t now_us) {
  const std::int64_t before = virtual_us.exchange(now_us);
  TROUPE_CHECK(before == kReal, "there are two virtual clocks");
}

VirtualClock::~VirtualClock() { virtual_us = kReal; }

void VirtualClock::set(std::int64_t now_us) { virtual_us = now_us; }

}  // namespace troupe
