#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

// The lattices of the formats IQ1, IQ2 and IQ3: a point is four or eight weights. A file has its
// index and, for IQ2 and IQ3, a bit for the sign of each weight. For this folder only.

namespace troupe::quant {

// A point as one number: value i of eight lies at bit 2i, value i of four at bit 4i.
extern const std::uint16_t kIq2XxsGrid[256], kIq2XsGrid[512], kIq2SGrid[1024];
extern const std::uint16_t kIq3XxsGrid[256], kIq3SGrid[512];
extern const std::uint16_t kIq1SGrid[2048];  // of IQ1_M, too

// The values for which the numbers in a point stand.
constexpr std::int8_t kIq2Values[4] = {8, 25, 43, 0};  // no point has the fourth
constexpr std::int8_t kIq3XxsValues[8] = {4, 12, 20, 28, 36, 44, 52, 62};

// Returns the eight signs for which seven bits stand: the eighth makes the number of minus signs
// even.
constexpr unsigned even_signs(unsigned seven) {
  return seven | static_cast<unsigned>(std::popcount(seven) & 1) << 7;
}

// Reads the eight values of a point of IQ2. Bit i of `signs` says that value i is negative.
inline void read_iq2_point(std::uint16_t point, unsigned signs, std::int8_t* q) {
  for (std::size_t i = 0; i < 8; ++i) {
    const std::int8_t value = kIq2Values[point >> (2 * i) & 3u];
    q[i] = static_cast<std::int8_t>((signs >> i & 1u) != 0 ? -value : value);
  }
}

// Reads the four values of a point of IQ3; `values` says for which value each number stands.
template <class Values>
void read_iq3_point(std::uint16_t point, unsigned signs, Values values, std::int8_t* q) {
  for (std::size_t i = 0; i < 4; ++i) {
    const int value = values(point >> (4 * i) & 7u);
    q[i] = static_cast<std::int8_t>((signs >> i & 1u) != 0 ? -value : value);
  }
}

// Reads the eight values of a point of IQ1, times 8, each moved by `delta`.
inline void read_iq1_point(std::uint16_t point, int delta, std::int8_t* q) {
  for (std::size_t i = 0; i < 8; ++i)
    q[i] = static_cast<std::int8_t>(8 * (static_cast<int>(point >> (2 * i) & 3u) - 1) + delta);
}

}  // namespace troupe::quant
