#include <array>

#include <troupe/model/training/dropout.h>
#include <troupe/runtime/numerics/philox.h>

namespace troupe::model {
namespace {

// A number that separates the draws of dropout from other draws of the same seed.
constexpr std::uint32_t kDropoutChoice = 0x64726f70;

}  // namespace

void drop_row(const DropoutOptions& options, const DropoutRow& row, const float* x,
              std::size_t channels, bool accumulate, float* out) {
  const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); };
  // The key is drawn from seed and epoch, so that seed 1 in epoch 0 is not seed 0 in epoch 1.
  const std::array<std::uint32_t, 4> key =
      philox4x32({low(row.epoch), high(row.epoch), kDropoutChoice, 0},
                 {low(options.seed), high(options.seed)});
  const auto limit = static_cast<std::uint64_t>(options.rate * 0x1p32);
  const auto scale = static_cast<float>(1.0 / (1.0 - options.rate));
  std::array<std::uint32_t, 4> words{};
  for (std::size_t c = 0; c < channels; ++c) {
    // There is a word for each channel, and a draw gives four of them.
    if (c % 4 == 0)
      words = philox4x32({static_cast<std::uint32_t>(c / 4), row.position,
                          row.matrix ^ high(row.example) << 16, low(row.example)},
                         {key[0], key[1]});
    const float value = words[c % 4] < limit ? 0.0f : x[c] * scale;
    out[c] = accumulate ? out[c] + value : value;
  }
}

}  // namespace troupe::model
