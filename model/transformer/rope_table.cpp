#include <algorithm>
#include <cmath>
#include <optional>

#include <troupe/model/transformer/rope_table.h>
#include <troupe/runtime/numerics/trig.h>

namespace troupe::model {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// Stretches long waves by the factor, leaves short ones as they are, and blends the two for those
// between.
double llama3_scaled(double frequency, const ModelConfig& config) {
  const auto context = static_cast<double>(config.rope_context);
  const double wave = kTwoPi / frequency;
  if (wave < context / config.rope_high_factor) return frequency;
  if (wave > context / config.rope_low_factor) return frequency / config.rope_factor;
  const double smooth = (context / wave - config.rope_low_factor) /
                        (config.rope_high_factor - config.rope_low_factor);
  return (1.0 - smooth) * frequency / config.rope_factor + smooth * frequency;
}

// Returns the pair, counted with fractions, that turns `rotations` times in the first training's
// context.
double pair_of_rotations(double rotations, const ModelConfig& config) {
  const double turns = static_cast<double>(config.rope_context) / (rotations * kTwoPi);
  return static_cast<double>(config.rotary_dim) * natural_log(turns) /
         (2.0 * natural_log(config.rope_theta));
}

// Stretches the pairs that turn seldom by the factor, leaves those that turn often as they are, and
// blends the two along a ramp of pairs between.
class YarnRamp {
 public:
  explicit YarnRamp(const ModelConfig& config) : factor_(config.rope_factor) {
    low_ = pair_of_rotations(config.rope_beta_fast, config);
    high_ = pair_of_rotations(config.rope_beta_slow, config);
    if (config.rope_whole_pairs) {
      low_ = std::floor(low_);
      high_ = std::ceil(high_);
    }
    low_ = std::max(low_, 0.0);
    high_ = std::min(high_, static_cast<double>(config.rotary_dim) - 1.0);
    if (low_ == high_) high_ += 0.001;
  }
  double scaled(double frequency, std::size_t pair) const {
    const double ramp = std::clamp((static_cast<double>(pair) - low_) / (high_ - low_), 0.0, 1.0);
    return frequency / factor_ * ramp + frequency * (1.0 - ramp);
  }

 private:
  const double factor_;
  double low_ = 0, high_ = 0;
};

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors) {
  std::vector<double> frequencies(config.rotary_dim / 2);
  std::optional<YarnRamp> yarn;
  if (config.rope_scaling == RopeScaling::kYarn) yarn.emplace(config);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(config.rotary_dim);
    double frequency = power(config.rope_theta, -2.0 * part);
    if (config.rope_scaling == RopeScaling::kLinear) frequency /= config.rope_factor;
    if (config.rope_scaling == RopeScaling::kLlama3) frequency = llama3_scaled(frequency, config);
    if (yarn) frequency = yarn->scaled(frequency, i);
    if (!config.rope_divisors.empty()) frequency /= config.rope_divisors[i];
    frequencies[i] = factors.empty() ? frequency : frequency / static_cast<double>(factors[i]);
  }
  return frequencies;
}

std::vector<double> window_rope_frequencies(const ModelConfig& config) {
  if (config.window_rope_theta == 0.0) return {};
  ModelConfig plain;
  plain.rotary_dim = config.rotary_dim;
  plain.rope_theta = config.window_rope_theta;
  return rope_frequencies(plain, {});
}

void RopeTable::grow(std::size_t count) {
  while (blocks_.size() * kBlockPositions < count) {
    const std::size_t first = blocks_.size() * kBlockPositions;
    auto block = std::make_unique<float[]>(kBlockPositions * 2 * frequencies_.size());
    float* out = block.get();
    for (std::size_t position = first; position < first + kBlockPositions; ++position)
      for (const double frequency : frequencies_) {
        const SinCos value = sin_cos(static_cast<double>(position) * frequency);
        *out++ = static_cast<float>(value.cos * magnitude_);
        *out++ = static_cast<float>(value.sin * magnitude_);
      }
    blocks_.push_back(std::move(block));
  }
}

}  // namespace troupe::model
