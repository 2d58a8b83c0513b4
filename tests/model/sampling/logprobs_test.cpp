#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/sampling/logprobs.h>
#include <troupe/tests/model/sampling/random_logits.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

TEST_CASE("log-probabilities agree with the library's mathematics") {
  for (const std::size_t count : {1u, 7u, 16u, 50u, 5000u}) {
    const std::vector<float> logits = random_logits(count, 4, 3.0f);
    const float peak = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit} - peak);
    for (std::size_t id = 0; id < count; id += 1 + count / 5) {
      const double expected = double{logits[id]} - peak - std::log(sum);
      // The tolerance covers a few roundings of f32: the sum's logarithm, two subtractions, exp
      // within 2 ulp.
      CHECK(log_probability(logits, static_cast<TokenId>(id)) ==
            Approx(expected).epsilon(1e-6).margin(2e-6));
    }
  }
}

TEST_CASE("the likeliest tokens come with their log-probabilities") {
  const std::vector<float> logits = {0.5f, 3.0f, -1.0f, 3.0f, 2.0f};
  const std::vector<TokenLogprob> found = log_probabilities(logits, 2, 3);
  REQUIRE(found.size() == 4);
  CHECK(found[0].id == 2);
  CHECK(found[0].logprob == log_probability(logits, 2));
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK(found[i].id == std::array<TokenId, 4>{0, 1, 3, 4}[i]);
    CHECK(found[i].logprob == log_probability(logits, found[i].id));
  }
  CHECK(log_probabilities(logits, 0, 20).size() == 6);
}
