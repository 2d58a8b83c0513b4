#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

// string -> number, open addressing over views: one allocation, whatever the count. The strings
// must outlive it. Reading is thread-safe once it is filled.

namespace troupe::model {

class StringIndex {
 public:
  static constexpr std::int32_t kAbsent = -1;

  // Room for `count` strings without growing.
  explicit StringIndex(std::size_t count) {
    std::size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    slots_.resize(slots);
  }

  // The later of two equal strings wins.
  void put(std::string_view key, std::int32_t value) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = slots_[place(key)];
    if (slot.value == kAbsent) ++count_;
    slot = {key, value};
  }

  std::int32_t find(std::string_view key) const { return slots_[place(key)].value; }

 private:
  struct Slot {
    std::string_view key;
    std::int32_t value = kAbsent;
  };

  std::size_t place(std::string_view key) const {
    std::size_t at = std::hash<std::string_view>{}(key) & (slots_.size() - 1);
    while (slots_[at].value != kAbsent && slots_[at].key != key) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.value != kAbsent) slots_[place(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

}  // namespace troupe::model
