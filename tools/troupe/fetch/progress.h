#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

// How far a transfer is, on stderr: a bar that is drawn anew where stderr is a terminal, a plain
// line now and then where it is not. Main thread only.

namespace troupe::tools {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // Of `name`; the bar ends at destruction.
  explicit Progress(std::string name);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `here` bytes of `total` (0: unknown) are on this disk. To be called often: it draws as often as
  // a reader can follow. A smaller `here` than before begins anew.
  void show(std::uint64_t here, std::uint64_t total, Clock::time_point now = Clock::now());

 private:
  double rate() const;  // bytes per second, of the last few seconds; 0 until it is known
  std::string line(std::uint64_t here, std::uint64_t total) const;

  std::string name_;
  bool terminal_;
  std::size_t columns_drawn_ = 0;
  Clock::time_point shown_, sampled_;
  std::deque<std::pair<Clock::time_point, std::uint64_t>> samples_;
};

// 75 -> "1:15", 3700 -> "1:01:40".
std::string format_seconds(std::uint64_t seconds);

}  // namespace troupe::tools
