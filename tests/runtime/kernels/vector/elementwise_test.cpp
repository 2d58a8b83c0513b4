#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/tests/runtime/kernels/kernel_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

namespace troupe::kernels {
TEST_CASE("rms_norm equals the reference bit for bit, in place too") {
  Random random(12);
  for (const std::size_t channels : {1, 8, 15, 16, 17, 64, 100, 576}) {
    const std::vector<float> x = random_floats(random, 3 * channels, 3.0f);
    const std::vector<float> weight = random_floats(random, channels);
    std::vector<float> expected(3 * channels);
    for (std::size_t row = 0; row < 3; ++row)
      reference::rms_norm(&x[row * channels], weight.data(), 1e-5f, channels,
                          &expected[row * channels]);
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " channels " << channels);
      std::vector<float> out = x;
      table(isa).rms_norm(out.data(), weight.data(), 1e-5f, channels, 0, 1, out.data());
      table(isa).rms_norm(out.data(), weight.data(), 1e-5f, channels, 1, 3, out.data());
      CHECK(same_bits(out.data(), expected.data(), out.size()));
    }
    double square = 0;
    for (std::size_t c = 0; c < channels; ++c) square += static_cast<double>(x[c]) * x[c];
    const double inverse = 1.0 / std::sqrt(square / static_cast<double>(channels) + 1e-5);
    // The tolerance covers a few roundings, and a sum over at most 36 steps per lane.
    for (std::size_t c = 0; c < channels; ++c)
      CHECK(expected[c] == Approx(x[c] * inverse * weight[c]).epsilon(64 * 0x1p-24).margin(1e-30));
  }
}

TEST_CASE("layer_norm equals the reference bit for bit, in place too") {
  Random random(15);
  for (const std::size_t channels : {1, 8, 15, 16, 17, 64, 100, 384, 777}) {
    std::vector<float> x = random_floats(random, 3 * channels, 3.0f);
    for (float& value : x) value += 1.5f;
    const std::vector<float> weight = random_floats(random, channels);
    const std::vector<float> bias = random_floats(random, channels);
    std::vector<float> expected(3 * channels);
    for (std::size_t row = 0; row < 3; ++row)
      reference::layer_norm(&x[row * channels], weight.data(), bias.data(), 1e-12f, channels,
                            &expected[row * channels]);
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " channels " << channels);
      std::vector<float> out = x;
      const auto norm = table(isa).layer_norm;
      norm(out.data(), weight.data(), bias.data(), 1e-12f, channels, 0, 1, out.data());
      norm(out.data(), weight.data(), bias.data(), 1e-12f, channels, 1, 3, out.data());
      CHECK(same_bits(out.data(), expected.data(), out.size()));
    }
    double mean = 0, square = 0;
    for (std::size_t c = 0; c < channels; ++c) mean += x[c] / static_cast<double>(channels);
    for (std::size_t c = 0; c < channels; ++c) square += (x[c] - mean) * (x[c] - mean);
    const double deviation = std::sqrt(square / static_cast<double>(channels) + 1e-12);
    // The mean, below 5 in size, is off by up to 64 roundings; so is every difference from it.
    const double error = 5 * 64 * 0x1p-24 / deviation + 64 * 0x1p-24;
    for (std::size_t c = 0; c < channels && channels > 1; ++c)
      CHECK(std::fabs(expected[c] - ((x[c] - mean) / deviation * weight[c] + bias[c])) <=
            error * 8 * std::fabs(weight[c]) + 0x1p-22);
  }
}

TEST_CASE("rope equals the reference bit for bit") {
  Random random(13);
  struct Shape {
    std::size_t heads, head_dim, rotary_dim;
  };
  for (const Shape shape : {Shape{9, 64, 64}, Shape{3, 20, 12}, Shape{1, 2, 2}, Shape{2, 80, 32}})
    for (const bool interleaved : {true, false}) {
      const std::vector<float> x = random_floats(random, shape.heads * shape.head_dim);
      const std::vector<float> cos_sin = random_floats(random, shape.rotary_dim);
      std::vector<float> expected = x;
      reference::rope(expected.data(), shape.heads, shape.head_dim, shape.rotary_dim,
                      cos_sin.data(), interleaved);
      for (const Isa isa : supported_isas()) {
        INFO(isa_name(isa) << " head_dim " << shape.head_dim << " interleaved " << interleaved);
        std::vector<float> out = x;
        table(isa).rope(out.data(), shape.heads, shape.head_dim, shape.rotary_dim, cos_sin.data(),
                        interleaved);
        CHECK(same_bits(out.data(), expected.data(), out.size()));
      }
    }
}

TEST_CASE("silu_mul equals the reference bit for bit") {
  Random random(14);
  for (const std::size_t count : {1, 7, 8, 31, 1536}) {
    const std::vector<float> gate = random_floats(random, count, 30.0f);
    const std::vector<float> up = random_floats(random, count);
    std::vector<float> expected(count);
    for (std::size_t i = 0; i < count; ++i) expected[i] = reference::silu(gate[i]) * up[i];
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " count " << count);
      std::vector<float> out = gate;
      table(isa).silu_mul(out.data(), up.data(), count);
      CHECK(same_bits(out.data(), expected.data(), count));
    }
  }
}

TEST_CASE("gelu and tanh equal the reference bit for bit") {
  Random random(16);
  for (const std::size_t count : {1, 7, 8, 31, 1536}) {
    std::vector<float> x = random_floats(random, count, 6.0f);
    for (std::size_t i = 0; i < count; i += 3) x[i] *= 0.01f;
    if (count > 10) {
      const float inf = std::numeric_limits<float>::infinity();
      const float specials[] = {0.0f, -0.0f, 0.625f, -0.625f, 1e30f, -1e30f, inf, 1e-40f};
      std::copy(std::begin(specials), std::end(specials), x.begin() + 2);
    }
    std::vector<float> by_tanh(count), by_erf(count), tanh(count);
    for (std::size_t i = 0; i < count; ++i) {
      by_tanh[i] = reference::gelu_tanh(x[i]);
      by_erf[i] = reference::gelu_erf(x[i]);
      tanh[i] = tanh_bits(x[i]);
    }
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " count " << count);
      std::vector<float> out = x;
      table(isa).gelu_tanh(out.data(), count);
      CHECK(same_bits(out.data(), by_tanh.data(), count));
      out = x;
      table(isa).gelu_erf(out.data(), count);
      CHECK(same_bits(out.data(), by_erf.data(), count));
      out = x;
      table(isa).tanh(out.data(), out.data(), count);
      CHECK(same_bits(out.data(), tanh.data(), count));
    }
  }
}

TEST_CASE("exp of every target is exp_bits") {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 9973) {
    float value;
    const auto low = static_cast<std::uint32_t>(bits);
    std::memcpy(&value, &low, 4);
    if (!std::isnan(value)) x.push_back(value);
  }
  x.push_back(std::numeric_limits<float>::infinity());
  x.push_back(-std::numeric_limits<float>::infinity());
  std::vector<float> expected(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] = exp_bits(x[i]);
  for (const Isa isa : supported_isas()) {
    INFO(isa_name(isa));
    std::vector<float> out(x.size());
    table(isa).exp(x.data(), out.data(), x.size());
    CHECK(same_bits(out.data(), expected.data(), x.size()));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> nans(16, nan);
    table(isa).exp(nans.data(), nans.data(), nans.size());
    for (const float value : nans) CHECK(std::isnan(value));
  }
}

}  // namespace troupe::kernels
