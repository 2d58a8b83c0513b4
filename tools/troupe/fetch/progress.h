#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

// Shows on stderr how far a transfer has come: with a bar that is redrawn if stderr is a terminal,
// or with a plain line from time to time if it is not. Main thread only.

namespace troupe::tools {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // Shows the transfer of `name`; the destructor ends the bar.
  explicit Progress(std::string name);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Says that `here` bytes of `total` (0 if not known) are on this disk. Call it often: it draws no
  // more often than a reader can follow. A smaller `here` than before means that the transfer began
  // anew.
  void show(std::uint64_t here, std::uint64_t total, Clock::time_point now = Clock::now());

 private:
  double rate() const;  // bytes per second in the last few seconds; 0 until it is known
  std::string line(std::uint64_t here, std::uint64_t total) const;

  std::string name_;
  bool terminal_;
  std::size_t columns_drawn_ = 0;
  Clock::time_point shown_, sampled_;
  std::deque<std::pair<Clock::time_point, std::uint64_t>> samples_;
};

// Turns 75 into "1:15", and 3700 into "1:01:40".
std::string format_seconds(std::uint64_t seconds);

}  // namespace troupe::tools
