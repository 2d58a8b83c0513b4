#include <array>
#include <cmath>

#include <troupe/model/training/first_values.h>
#include <troupe/runtime/numerics/philox.h>

namespace troupe::model {
namespace {

// Returns FNV-1a of the name, which separates the draws of tensors.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Draws four words of Philox at (seed, name, index). Their sum minus its mean has the deviation
// 2^32 / sqrt(3). Everything but the last product is exact.
float draw(std::uint64_t seed, std::uint64_t name, std::uint64_t index, double deviation) {
  const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); };
  const std::array<std::uint32_t, 4> words =
      philox4x32({low(index), high(index), low(name), high(name)}, {low(seed), high(seed)});
  std::int64_t sum = -2 * std::int64_t{0xffffffff};
  for (const std::uint32_t word : words) sum += word;
  return static_cast<float>(static_cast<double>(sum) * (deviation * std::sqrt(3.0) * 0x1p-32));
}

}  // namespace

void draw_first_values(std::uint64_t seed, std::string_view name, double deviation,
                       std::span<float> values) {
  const std::uint64_t hash = hash_of(name);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = draw(seed, hash, i, deviation);
}

}  // namespace troupe::model
