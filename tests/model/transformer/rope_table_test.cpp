#include <cmath>

#include <catch2/catch.hpp>

#include <troupe/model/transformer/rope_table.h>

using namespace troupe::model;

namespace {

ModelConfig rotary(double theta, std::size_t dim) {
  ModelConfig config;
  config.rope_theta = theta;
  config.rotary_dim = dim;
  return config;
}

}  // namespace

TEST_CASE("rotary frequencies are powers of the base") {
  const auto frequencies = rope_frequencies(rotary(10000.0, 24), {});
  REQUIRE(frequencies.size() == 12);
  for (std::size_t i = 0; i < 12; ++i)
    CHECK(frequencies[i] ==
          Approx(std::pow(10000.0, -2.0 * static_cast<double>(i) / 24.0)).epsilon(1e-13));
  CHECK(rope_frequencies(rotary(10000.0, 0), {}).empty());
}

TEST_CASE("linear scaling and factors divide the frequencies") {
  ModelConfig config = rotary(500000.0, 8);
  const auto plain = rope_frequencies(config, {});
  const std::vector<float> factors{1.0f, 2.0f, 8.0f, 1.5f};
  const auto divided = rope_frequencies(config, factors);
  config.rope_scaling = RopeScaling::kLinear;
  config.rope_factor = 4.0;
  const auto stretched = rope_frequencies(config, {});
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(stretched[i] == plain[i] / 4.0);
    CHECK(divided[i] == plain[i] / static_cast<double>(factors[i]));
  }
}

// Compares Llama 3.1's settings with transformers' formula, which is written out here again.
TEST_CASE("llama3 scaling stretches long waves only") {
  ModelConfig config = rotary(500000.0, 128);
  const auto plain = rope_frequencies(config, {});
  config.rope_scaling = RopeScaling::kLlama3;
  config.rope_factor = 8.0;
  config.rope_low_factor = 1.0;
  config.rope_high_factor = 4.0;
  config.rope_context = 8192;
  const auto scaled = rope_frequencies(config, {});
  std::size_t same = 0, blended = 0, stretched = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const double wave = 2.0 * std::acos(-1.0) / plain[i];
    if (wave < 8192.0 / 4.0) {
      ++same;
      CHECK(scaled[i] == plain[i]);
    } else if (wave > 8192.0) {
      ++stretched;
      CHECK(scaled[i] == plain[i] / 8.0);
    } else {
      ++blended;
      const double smooth = (8192.0 / wave - 1.0) / 3.0;
      CHECK(scaled[i] == Approx((1 - smooth) * plain[i] / 8.0 + smooth * plain[i]).epsilon(1e-13));
      CHECK(scaled[i] < plain[i]);
      CHECK(scaled[i] > plain[i] / 8.0);
    }
  }
  CHECK(same == 29);
  CHECK(blended == 6);
  CHECK(stretched == 29);
}
