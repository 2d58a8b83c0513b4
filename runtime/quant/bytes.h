#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// Small helpers for the formats' source files: unaligned reads and writes of file bytes. Files are
// little-endian, as is every target that Troupe builds for.

namespace troupe::quant {

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <class T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

inline bool f16_is_finite(std::uint16_t bits) { return (bits & 0x7c00u) != 0x7c00u; }

}  // namespace troupe::quant
