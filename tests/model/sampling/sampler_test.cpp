#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/tests/model/sampling/random_logits.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

// Computes the definition in doubles with the library's exp: ids of the nucleus and their
// probabilities.
std::map<TokenId, double> expected_probabilities(const std::vector<float>& logits,
                                                 const SamplingParams& params) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  double sum = 0;
  std::vector<double> weights;
  for (const TokenId id : order) {
    weights.push_back(std::exp((double{logits[id]} - logits[order[0]]) / params.temperature));
    sum += weights.back();
  }
  std::map<TokenId, double> probabilities;
  double nucleus = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    probabilities[order[i]] = weights[i];
    nucleus += weights[i];
    if (params.top_p < 1.0f && nucleus >= params.top_p * sum) break;
  }
  for (auto& [id, probability] : probabilities) probability /= nucleus;
  return probabilities;
}

}  // namespace

TEST_CASE("greedy takes the largest logit, the lower id of equals") {
  CHECK(*sample(std::vector<float>{1.0f, 3.0f, 2.0f, 3.0f}, {}, 0) == 1);
  CHECK(*sample(std::vector<float>{-0.0f, 0.0f}, {}, 0) == 0);
  CHECK(*sample(std::vector<float>{-kInfinity, -kInfinity, -5.0f}, {}, 0) == 2);
  for (std::size_t count = 1; count < 70; ++count) {
    for (std::size_t at = 0; at < count; ++at) {
      std::vector<float> logits(count, -1.0f);
      logits[at] = 2.0f;
      logits[count - 1] = 2.0f;
      CHECK(*sample(logits, {}, 9) == static_cast<TokenId>(at));
    }
  }
}

TEST_CASE("logits that are not numbers are an error") {
  for (const std::size_t at : {0u, 5u, 16u, 39u}) {
    std::vector<float> logits(40, 1.0f);
    logits[at] = kNan;
    for (const float temperature : {0.0f, 1.0f}) {
      const auto token = sample(logits, {temperature, 1.0f, 0}, 7);
      CHECK(token.code() == Code::kBadData);
      CHECK(token.message().find("position 7: the logit of token " + std::to_string(at)) !=
            std::string::npos);
    }
    CHECK(std::isnan(log_probability(logits, 1)));
  }
  CHECK(sample({}, {}, 0).code() == Code::kBadData);
  CHECK(sample(std::vector<float>{1.0f, kInfinity}, {1.0f, 1.0f, 0}, 0).code() == Code::kBadData);
  CHECK(sample(std::vector<float>{-kInfinity}, {1.0f, 1.0f, 0}, 0).code() == Code::kBadData);
}

TEST_CASE("frequencies follow the probabilities") {
  // Chi-squared against the definition in doubles. There are at most 60 degrees of freedom. The
  // limit d + 7 sqrt(2 d) + 20 is above the 1 - 1e-6 quantile, and the seeds are fixed.
  constexpr int kDraws = 20000;
  for (const auto& [temperature, top_p] : std::vector<std::pair<float, float>>{
           {1.0f, 1.0f}, {0.5f, 1.0f}, {1.0f, 0.9f}, {2.0f, 0.5f}, {0.7f, 0.95f}, {1.0f, 0.01f}}) {
    const std::vector<float> logits = random_logits(50, 3, 1.5f);
    const SamplingParams params{temperature, top_p, 42};
    const std::map<TokenId, double> expected = expected_probabilities(logits, params);
    std::map<TokenId, int> counts;
    for (int i = 0; i < kDraws; ++i) ++counts[*sample(logits, params, i)];
    double chi_squared = 0;
    for (const auto& [id, count] : counts) {
      INFO("token " << id << " at temperature " << temperature << ", top_p " << top_p);
      CHECK(expected.contains(id));
    }
    for (const auto& [id, probability] : expected) {
      const double mean = probability * kDraws;
      chi_squared += (counts[id] - mean) * (counts[id] - mean) / mean;
    }
    const double degrees = static_cast<double>(expected.size()) - 1;
    CHECK(chi_squared <= degrees + 7 * std::sqrt(2 * degrees) + 20);
  }
}

TEST_CASE("the nucleus is what the definition says") {
  // With small vocabularies that have ties, every token of the nucleus is drawn at some point, and
  // no other token ever is.
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::vector<float> logits = random_logits(12, seed, 1.0f);
    for (float& logit : logits) logit = std::round(logit * 2.0f) / 2.0f;
    for (const float top_p : {0.2f, 0.5f, 0.8f}) {
      const SamplingParams params{1.0f, top_p, seed};
      std::map<TokenId, int> counts;
      for (int i = 0; i < 1500; ++i) ++counts[*sample(logits, params, i)];
      const std::map<TokenId, double> expected = expected_probabilities(logits, params);
      CHECK(counts.size() == expected.size());
      for (const auto& [id, count] : counts) CHECK(expected.contains(id));
    }
  }
  // Of two equal tokens on the edge, the lower id is in. With top_p near 0 the choice is greedy.
  const std::vector<float> equals(8, 1.0f);
  for (int i = 0; i < 200; ++i) {
    CHECK(*sample(equals, {1.0f, 0.25f, 5}, i) <= 1);
    CHECK(*sample(equals, {1.0f, 1e-9f, 5}, i) == 0);
  }
}

TEST_CASE("a draw depends on seed and position alone") {
  const std::vector<float> logits = random_logits(5000, 8, 2.0f);
  const SamplingParams params{1.0f, 0.95f, 7};
  std::vector<TokenId> forwards, backwards;
  for (int i = 0; i < 100; ++i) forwards.push_back(*sample(logits, params, i));
  for (int i = 99; i >= 0; --i) backwards.push_back(*sample(logits, params, i));
  std::reverse(backwards.begin(), backwards.end());
  CHECK(forwards == backwards);
  SamplingParams other = params;
  other.seed = 8;
  int equal = 0;
  for (int i = 0; i < 100; ++i) equal += *sample(logits, other, i) == forwards[i];
  CHECK(equal < 30);
}

TEST_CASE("recorded draws are the same on every machine") {
  // These ids were recorded from this implementation. They change only if the definition in
  // sampler.cpp changes.
  std::vector<float> logits(49152);
  std::uint32_t state = 1;
  for (float& logit : logits) {
    state = state * 1664525u + 1013904223u;
    logit = static_cast<float>(static_cast<std::int32_t>(state) >> 8) * 0x1p-20f;
  }
  std::vector<TokenId> all, nucleus;
  for (int i = 0; i < 8; ++i) {
    all.push_back(*sample(logits, {0.8f, 1.0f, 123}, i));
    nucleus.push_back(*sample(logits, {0.8f, 0.9f, 123}, i));
  }
  CHECK(all == std::vector<TokenId>{3362, 31773, 8865, 6189, 38263, 19491, 1065, 9619});
  CHECK(nucleus == std::vector<TokenId>{2521, 12165, 21222, 42656, 1063, 39228, 18424, 43344});
  const float recorded = log_probability(logits, 100);
  CHECK(std::bit_cast<std::uint32_t>(recorded) == 0xc1949c44);
}

TEST_CASE("extreme temperatures stay in the vocabulary") {
  const std::vector<float> logits = random_logits(10000, 2, 10.0f);
  const TokenId best = *sample(logits, {}, 0);
  for (int i = 0; i < 50; ++i) {
    CHECK(*sample(logits, {1e-30f, 1.0f, 1}, i) == best);
    CHECK(*sample(logits, {1e-45f, 0.9f, 1}, i) == best);
    for (const float top_p : {1.0f, 0.99f}) {
      const TokenId flat = *sample(logits, {1e30f, top_p, 1}, i);
      CHECK(flat >= 0);
      CHECK(flat < 10000);
    }
  }
  // A masked token is never drawn.
  std::vector<float> masked(100, -kInfinity);
  masked[60] = 1.0f;
  masked[61] = 1.0f;
  for (int i = 0; i < 200; ++i) CHECK(*sample(masked, {5.0f, 0.99f, 3}, i) / 2 == 30);
  for (int i = 0; i < 200; ++i) CHECK(*sample(masked, {5.0f, 1.0f, 3}, i) / 2 == 30);
}

TEST_CASE("choices of one seed are drawn apart") {
  const std::vector<float> logits(64, 0.0f);
  SamplingParams first = params_of(1.0f, 9), second = first;
  second.choice = 1;
  int equal = 0;
  for (int i = 0; i < 200; ++i) equal += *sample(logits, first, i) == *sample(logits, second, i);
  CHECK(equal < 20);
}

TEST_CASE("the best token that a stage found is taken when nothing else can change the choice") {
  SamplingParams greedy;
  CHECK(greedy.wants_best());
  for (const auto change : {+[](SamplingParams& p) { p.temperature = 0.5f; },
                            +[](SamplingParams& p) { p.repeat_penalty = 1.1f; },
                            +[](SamplingParams& p) { p.presence_penalty = 0.1f; },
                            +[](SamplingParams& p) { p.frequency_penalty = 0.1f; },
                            +[](SamplingParams& p) { p.logprobs = 1; },
                            +[](SamplingParams& p) {
                              p.logit_bias = {{3, 1.0f}};
                            }}) {
    SamplingParams other;
    change(other);
    CHECK_FALSE(other.wants_best());
  }
  CHECK(*sample_best({17, 3.5f, false}, 9) == 17);
  CHECK(sample_best({17, 3.5f, true}, 9).code() == Code::kBadData);
  CHECK(sample_best({}, 9).code() == Code::kBadData);
}
