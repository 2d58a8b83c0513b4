#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

// Maps strings to numbers by open addressing over views: one allocation, whatever the count. The
// strings must outlive it. Any thread may read once it is filled.

namespace troupe::model {

class StringIndex {
 public:
  static constexpr std::int32_t kAbsent = -1;

  // Makes room for `count` strings without growing.
  explicit StringIndex(std::size_t count) {
    std::size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    slots_.resize(slots);
  }

  // Adds a string. The later of two equal ones wins.
  void put(std::string_view key, std::int32_t value) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    const std::uint32_t hash = hash_of(key);
    Slot& slot = slots_[place(key, hash)];
    if (slot.value == kAbsent) ++count_;
    slot = {key.data(), static_cast<std::uint32_t>(key.size()), hash, value};
  }

  std::int32_t find(std::string_view key) const { return slots_[place(key, hash_of(key))].value; }

 private:
  // The hash lies beside the pointer, so that other keys on the search path are not read.
  struct Slot {
    const char* data = nullptr;
    std::uint32_t bytes = 0;
    std::uint32_t hash = 0;
    std::int32_t value = kAbsent;
  };

  static std::uint32_t hash_of(std::string_view key) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>{}(key));
  }

  std::size_t place(std::string_view key, std::uint32_t hash) const {
    std::size_t at = hash & (slots_.size() - 1);
    while (
        slots_[at].value != kAbsent &&
        !(slots_[at].hash == hash && std::string_view(slots_[at].data, slots_[at].bytes) == key)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.value != kAbsent) slots_[place({slot.data, slot.bytes}, slot.hash)] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

}  // namespace troupe::model
