#include <troupe/model/transformer/rope_table.h>
#include <troupe/runtime/numerics/trig.h>

namespace troupe::model {

namespace {

// Stretches long waves by the factor, leaves short ones, and blends the two for those between.
double llama3_scaled(double frequency, const ModelConfig& config) {
  constexpr double kTwoPi = 6.283185307179586;
  const auto context = static_cast<double>(config.rope_context);
  const double wave = kTwoPi / frequency;
  if (wave < context / config.rope_high_factor) return frequency;
  if (wave > context / config.rope_low_factor) return frequency / config.rope_factor;
  const double smooth = (context / wave - config.rope_low_factor) /
                        (config.rope_high_factor - config.rope_low_factor);
  return (1.0 - smooth) * frequency / config.rope_factor + smooth * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors) {
  std::vector<double> frequencies(config.rotary_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(config.rotary_dim);
    double frequency = power(config.rope_theta, -2.0 * part);
    if (config.rope_scaling == RopeScaling::kLinear) frequency /= config.rope_factor;
    if (config.rope_scaling == RopeScaling::kLlama3) frequency = llama3_scaled(frequency, config);
    frequencies[i] = factors.empty() ? frequency : frequency / static_cast<double>(factors[i]);
  }
  return frequencies;
}

void RopeTable::grow(std::size_t count) {
  while (blocks_.size() * kBlockPositions < count) {
    const std::size_t first = blocks_.size() * kBlockPositions;
    auto block = std::make_unique<float[]>(kBlockPositions * 2 * frequencies_.size());
    float* out = block.get();
    for (std::size_t position = first; position < first + kBlockPositions; ++position)
      for (const double frequency : frequencies_) {
        const SinCos value = sin_cos(static_cast<double>(position) * frequency);
        *out++ = static_cast<float>(value.cos);
        *out++ = static_cast<float>(value.sin);
      }
    blocks_.push_back(std::move(block));
  }
}

}  // namespace troupe::model
