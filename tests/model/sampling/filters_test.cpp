#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/sampling/sampler.h>
#include <troupe/tests/model/sampling/random_logits.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

// Compares the steps between logits and probabilities (penalties, bias and filters) with plain
// loops.

namespace {

// Returns the upper tail of the chi-squared distribution: the regularized gamma function Q(d/2,
// x/2), by its series below the mean and its continued fraction above. Source: Abramowitz & Stegun
// 6.5.
double chi_squared_p(double x, double degrees) {
  const double a = degrees / 2, half = x / 2;
  if (half <= 0) return 1;
  const double front = std::exp(a * std::log(half) - half - std::lgamma(a));
  if (half < a + 1) {
    double term = 1 / a, sum = term;
    for (int n = 1; n < 1000; ++n) sum += term *= half / (a + n);
    return 1 - front * sum;
  }
  double b = half + 1 - a, c = 1e300, d = 1 / b, h = d;
  for (int i = 1; i < 1000; ++i) {
    const double an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    h *= d * c;
  }
  return front * h;
}

// Does all steps as sampler.h describes them, by plain loops in doubles: id -> probability.
std::map<TokenId, double> oracle(std::vector<float> logits, const SamplingParams& params,
                                 const std::vector<TokenId>& log, std::size_t prompt) {
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const auto token = static_cast<TokenId>(id);
    if (std::count(log.begin(), log.end(), token) == 0) continue;
    float& logit = logits[id];
    logit = logit > 0 ? logit / params.repeat_penalty : logit * params.repeat_penalty;
    const auto n = std::count(log.begin() + static_cast<std::ptrdiff_t>(prompt), log.end(), token);
    if (n == 0) continue;
    logit -= params.frequency_penalty * static_cast<float>(n) + params.presence_penalty;
  }
  for (const LogitBias& one : params.logit_bias) logits[one.id] += one.bias;
  struct One {
    TokenId id;
    double weight, surprise;
  };
  const float peak = *std::max_element(logits.begin(), logits.end());
  std::vector<One> left;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    left.push_back(
        {static_cast<TokenId>(i), std::exp((double{logits[i]} - peak) / params.temperature), 0});
  }
  std::stable_sort(left.begin(), left.end(),
                   [&](const One& a, const One& b) { return logits[a.id] > logits[b.id]; });
  const auto sum = [&] {
    double total = 0;
    for (const One& one : left) total += one.weight;
    return total;
  };
  const auto keep = [&](double mass) {
    double running = 0;
    std::size_t kept = 0;
    while (kept < left.size() && running < mass) running += left[kept++].weight;
    left.resize(kept);
  };
  if (params.top_k > 0 && params.top_k < left.size()) left.resize(params.top_k);
  if (params.typical < 1.0f) {
    const double total = sum();
    double mean = 0;
    for (One& one : left) {
      one.surprise = -std::log(one.weight / total);
      mean += one.weight / total * one.surprise;
    }
    std::stable_sort(left.begin(), left.end(), [&](const One& a, const One& b) {
      return std::fabs(a.surprise - mean) < std::fabs(b.surprise - mean);
    });
    keep(params.typical * total);
    std::stable_sort(left.begin(), left.end(), [&](const One& a, const One& b) {
      return logits[a.id] != logits[b.id] ? logits[a.id] > logits[b.id] : a.id < b.id;
    });
  }
  if (params.top_p < 1.0f) keep(params.top_p * sum());
  const double least = params.min_p * left.front().weight;
  std::erase_if(left, [&](const One& one) { return one.weight < least; });
  std::map<TokenId, double> probabilities;
  for (const One& one : left) probabilities[one.id] = one.weight / sum();
  return probabilities;
}

}  // namespace

TEST_CASE("chi-squared has its known quantiles") {
  CHECK(chi_squared_p(10.828, 1) == Approx(0.001).epsilon(1e-3));
  CHECK(chi_squared_p(29.588, 10) == Approx(0.001).epsilon(1e-3));
  CHECK(chi_squared_p(9.342, 10) == Approx(0.5).epsilon(1e-3));
}

TEST_CASE("every step draws as the oracle computes, p above 0.001") {
  // Test each step alone, then all together. The seeds are fixed, so a pass stays a pass.
  std::vector<SamplingParams> cases(20, params_of(0.9f, 77));
  cases[1].top_k = 7;
  cases[2].min_p = 0.1f;
  cases[3].typical = 0.6f;
  cases[4].repeat_penalty = 1.3f;
  cases[5].presence_penalty = 0.8f;
  cases[6].frequency_penalty = 0.5f;
  cases[7].logit_bias = {{3, 2.0f}, {8, -4.0f}, {3, 0.5f}};
  cases[8].top_k = 20;
  cases[8].top_p = 0.8f;
  cases[9].typical = 0.9f;
  cases[9].min_p = 0.05f;
  cases[9].top_p = 0.9f;
  cases[10].top_k = 1;
  cases[11].top_k = 30;
  cases[11].typical = 0.8f;
  cases[11].top_p = 0.95f;
  cases[11].min_p = 0.02f;
  cases[11].repeat_penalty = 0.7f;
  cases[11].presence_penalty = -0.3f;
  cases[11].frequency_penalty = 0.2f;
  cases[11].logit_bias = {{0, 1.0f}};
  cases[11].choice = 5;
  cases[12].top_p = 0.9f;
  cases[13].temperature = 2.0f;
  cases[14].temperature = 0.4f;
  cases[15].top_k = 10;
  cases[15].min_p = 0.05f;
  cases[16].top_k = 25;
  cases[16].typical = 0.7f;
  cases[17].top_p = 0.85f;
  cases[17].min_p = 0.1f;
  cases[18].typical = 0.6f;
  cases[18].repeat_penalty = 1.2f;
  cases[18].presence_penalty = 0.5f;
  cases[19].top_p = 0.7f;
  cases[19].temperature = 1.6f;
  cases[19].frequency_penalty = 0.4f;
  cases[19].logit_bias = {{5, 1.5f}, {6, -1.0f}};
  const std::vector<TokenId> log = {1, 4, 4, 9, 9, 9, 0, 33};
  constexpr int kDraws = 20000;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    INFO("case " << i);
    const std::vector<float> logits = random_logits(48, 60 + static_cast<unsigned>(i), 1.5f);
    const std::map<TokenId, double> expected = oracle(logits, cases[i], log, 3);
    std::map<TokenId, int> counts;
    for (int draw = 0; draw < kDraws; ++draw) ++counts[*sample(logits, cases[i], draw, log, 3)];
    for (const auto& [id, count] : counts) CHECK(expected.contains(id));
    // Tokens that are expected fewer than 5 times count as one.
    double chi_squared = 0, rare = 0;
    int rare_count = 0, cells = 0;
    for (const auto& [id, probability] : expected) {
      const double mean = probability * kDraws;
      if (mean < 5) {
        rare += mean;
        rare_count += counts[id];
        continue;
      }
      chi_squared += (counts[id] - mean) * (counts[id] - mean) / mean;
      ++cells;
    }
    if (rare >= 1) {
      chi_squared += (rare_count - rare) * (rare_count - rare) / rare;
      ++cells;
    }
    if (cells > 1) CHECK(chi_squared_p(chi_squared, cells - 1) > 0.001);
  }
}

TEST_CASE("what the steps cut off is never drawn, the rest is") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::vector<float> logits = random_logits(12, seed, 1.0f);
    for (float& logit : logits) logit = std::round(logit * 2.0f) / 2.0f;  // ties
    SamplingParams params = params_of(1.0f, seed);
    params.top_k = seed % 5 == 0 ? 0 : 2 + seed % 7;
    params.min_p = seed % 3 == 0 ? 0.0f : 0.21f;
    params.typical = seed % 4 == 0 ? 1.0f : 0.71f;
    params.top_p = seed % 2 == 0 ? 1.0f : 0.83f;
    const std::vector<TokenId> log = {2, 2, 5};
    params.repeat_penalty = seed % 6 == 0 ? 1.0f : 1.17f;
    const std::map<TokenId, double> expected = oracle(logits, params, log, 0);
    std::map<TokenId, int> counts;
    for (int i = 0; i < 1500; ++i) ++counts[*sample(logits, params, i, log)];
    for (const auto& [id, count] : counts) CHECK(expected.contains(id));
    for (const auto& [id, probability] : expected) {
      if (probability > 0.02) CHECK(counts.contains(id));
    }
  }
  // Among equal tokens on the edge, the lower ids stay.
  SamplingParams params = params_of(1.0f, 1);
  params.top_k = 3;
  const std::vector<float> equals(8, 1.0f);
  for (int i = 0; i < 300; ++i) CHECK(*sample(equals, params, i) < 3);
}

TEST_CASE("penalties and bias also move the greedy choice") {
  const std::vector<float> logits = {1.0f, 2.0f, 1.9f};
  SamplingParams params;
  params.repeat_penalty = 1.5f;
  CHECK(*sample(logits, params, 0) == 1);
  CHECK(*sample(logits, params, 0, std::vector<TokenId>{1}) == 2);
  params = {};
  params.logit_bias = {{0, 5.0f}};
  CHECK(*sample(logits, params, 0) == 0);
  params.logit_bias = {{3, 5.0f}};
  CHECK(sample(logits, params, 0).message() ==
        "logit_bias names token 3, outside the vocabulary of 3 tokens");
  params = {};
  params.presence_penalty = 1.0f;
  CHECK(sample(logits, params, 0, std::vector<TokenId>{3}).code() == Code::kBadData);
}

TEST_CASE("presence and frequency count the answer, repetition counts the prompt too") {
  const std::vector<float> logits = {1.0f, 2.0f, 1.9f};
  const std::vector<TokenId> log = {1, 1, 0, 1};
  const auto chosen = [&](auto set, std::size_t prompt) {
    SamplingParams params;
    set(params);
    return *sample(logits, params, 4, log, prompt);
  };
  const auto presence = [](auto& p) { p.presence_penalty = 1.5f; };
  const auto frequency = [](auto& p) { p.frequency_penalty = 0.04f; };
  const auto praise = [](auto& p) { p.presence_penalty = -2.0f; };
  const auto repeat = [](auto& p) { p.repeat_penalty = 1.5f; };
  CHECK(chosen(presence, 4) == 1);   // the answer has no token yet
  CHECK(chosen(presence, 3) == 2);   // token 1 is the answer's
  CHECK(chosen(frequency, 3) == 1);  // counted once: 2.0 - 0.04 is still the largest
  CHECK(chosen(frequency, 0) == 2);  // counted three times: 2.0 - 0.12
  CHECK(chosen(praise, 4) == 1);
  CHECK(chosen(praise, 2) == 1);  // both tokens occur in the answer
  CHECK(chosen(repeat, 4) == 2);
  CHECK(chosen(repeat, 0) == 2);
  SamplingParams all;
  all.repeat_penalty = 1.01f;
  all.presence_penalty = 0.5f;
  CHECK(*sample(logits, all, 4, log, 4) == 1);  // 2.0 / 1.01
  CHECK(*sample(logits, all, 4, log, 3) == 2);  // 2.0 / 1.01 - 0.5
}
