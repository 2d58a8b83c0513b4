#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/runtime/kernels/update.h>

using namespace troupe;

namespace {

// Makes values of both signs and many sizes.
std::vector<float> values(std::size_t count, double size, double phase) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i)
    out[i] = static_cast<float>(size * std::sin(static_cast<double>(i) * 1.7 + phase));
  return out;
}

struct State {
  std::vector<float> weights = values(1003, 1.0, 0.1), m = std::vector<float>(1003);
  std::vector<float> v = std::vector<float>(1003);
};

}  // namespace

// The oracle is the formula of torch.optim.AdamW in double precision. Folding the bias correction
// into the step and dividing once must not move a weight by more than roundings do: an update is
// about the learning rate, its relative error a few times 2^-24, and the weight itself is rounded.
TEST_CASE("AdamW is the published formula to within roundings") {
  constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEpsilon = 1e-8, kRate = 1e-2, kDecay = 0.1;
  constexpr double kDivisor = 127.0, kClip = 0.37;
  State ours;
  std::vector<double> weights(ours.weights.begin(), ours.weights.end()), m(1003), v(1003);
  for (int t = 1; t <= 20; ++t) {
    const std::vector<float> sums = values(1003, 3.0, t);
    const double root1 = 1.0 - std::pow(kBeta1, t), root2 = std::sqrt(1.0 - std::pow(kBeta2, t));
    kernels::AdamWStep step;
    step.gradient_scale = static_cast<float>(kClip / kDivisor);
    step.beta1 = static_cast<float>(kBeta1);
    step.beta2 = static_cast<float>(kBeta2);
    step.keep = static_cast<float>(1.0 - kRate * kDecay);
    step.step_size = static_cast<float>(kRate * root2 / root1);
    step.epsilon = static_cast<float>(kEpsilon * root2);
    kernels::adamw(step, sums.data(), ours.weights.data(), ours.m.data(), ours.v.data(), 1003);
    for (std::size_t i = 0; i < 1003; ++i) {
      const double g = static_cast<double>(sums[i]) / kDivisor * kClip;
      m[i] = kBeta1 * m[i] + (1.0 - kBeta1) * g;
      v[i] = kBeta2 * v[i] + (1.0 - kBeta2) * g * g;
      weights[i] -= kRate * kDecay * weights[i];
      weights[i] -= kRate / root1 * m[i] / (std::sqrt(v[i]) / root2 + kEpsilon);
      REQUIRE(std::abs(weights[i] - static_cast<double>(ours.weights[i])) < 2e-6);
    }
  }
}

TEST_CASE("An update gives the same bits wherever its range is cut") {
  const std::vector<float> sums = values(1003, 3.0, 0.7);
  kernels::AdamWStep adam;
  adam.gradient_scale = 0.01f;
  adam.keep = 0.999f;
  adam.step_size = 1e-2f;
  kernels::SgdStep sgd;
  sgd.rate = 0.1f;
  sgd.momentum = 0.9f;
  sgd.decay = 0.01f;
  State whole, cut;
  for (const bool is_adam : {true, false})
    for (int t = 0; t < 3; ++t) {
      const auto update = [&](State& state, std::size_t begin, std::size_t end) {
        if (is_adam)
          return kernels::adamw(adam, sums.data() + begin, state.weights.data() + begin,
                                state.m.data() + begin, state.v.data() + begin, end - begin);
        kernels::sgd(sgd, sums.data() + begin, state.weights.data() + begin, state.m.data() + begin,
                     end - begin);
      };
      update(whole, 0, 1003);
      for (std::size_t begin = 0; begin < 1003; begin += 7)
        update(cut, begin, std::min<std::size_t>(1003, begin + 7));
      CHECK(whole.weights == cut.weights);
      CHECK(whole.m == cut.m);
      CHECK(whole.v == cut.v);
    }
}

TEST_CASE("The sum of squares has sixteen partial sums and one tree") {
  for (const std::size_t count : {std::size_t{1}, std::size_t{16}, std::size_t{1003}}) {
    const std::vector<float> sums = values(count, 1e30, 0.3);  // squares that f32 cannot hold
    double partial[16] = {};
    for (std::size_t i = 0; i < count; ++i)
      partial[i % 16] += static_cast<double>(sums[i]) * static_cast<double>(sums[i]);
    for (std::size_t apart = 8; apart > 0; apart /= 2)
      for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
    kernels::SquareSum sum;
    sum.add(sums.data(), count);
    CHECK(sum.total() == partial[0]);
    kernels::SquareSum pieces;
    pieces.add(sums.data(), count / 32 * 16);
    pieces.add(sums.data() + count / 32 * 16, count - count / 32 * 16);
    CHECK(pieces.total() == partial[0]);
  }
}
