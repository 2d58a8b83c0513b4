#pragma once

#include <array>
#include <cstdint>

// Which sequence numbers of one sender have been seen: each number passes once. Numbers may
// overtake each other by less than kSlots, because a sender may change from one connection to
// another; older numbers count as seen. Pure.

namespace troupe::net {

class SequenceWindow {
 public:
  static constexpr std::uint64_t kSlots = 1024;

  // Returns true if `sequence` is new; 0 never is.
  bool accept(std::uint64_t sequence) {
    if (sequence == 0) return false;
    if (sequence > newest_) {
      const std::uint64_t advance = sequence - newest_;
      if (advance >= kSlots) {
        bits_.fill(0);
      } else {
        for (std::uint64_t s = newest_ + 1; s < sequence; ++s) clear(s);
      }
      newest_ = sequence;
      set(sequence);
      return true;
    }
    if (newest_ - sequence >= kSlots || seen(sequence)) return false;
    set(sequence);
    return true;
  }

 private:
  static std::uint64_t mask(std::uint64_t s) { return std::uint64_t{1} << s % 64; }
  std::uint64_t& word(std::uint64_t s) { return bits_[s % kSlots / 64]; }
  bool seen(std::uint64_t s) { return (word(s) & mask(s)) != 0; }
  void set(std::uint64_t s) { word(s) |= mask(s); }
  void clear(std::uint64_t s) { word(s) &= ~mask(s); }

  std::uint64_t newest_ = 0;
  std::array<std::uint64_t, kSlots / 64> bits_{};
};

}  // namespace troupe::net
