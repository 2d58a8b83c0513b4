#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/runtime/numerics/philox.h>

using namespace troupe;
using namespace troupe::model;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(std::size_t count, unsigned seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

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

TEST_CASE("Philox gives its known answers") {
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

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

TEST_CASE("logits that are no numbers are an error") {
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

TEST_CASE("parameters out of range are named") {
  CHECK(validate({}).is_ok());
  CHECK(validate({2.0f, 0.5f, 1}).is_ok());
  CHECK(validate({-0.5f, 1.0f, 0}).message() ==
        "temperature is -0.500000, expected a number from 0 (greedy) up");
  CHECK(validate({kNan, 1.0f, 0}).code() == Code::kInvalidArgument);
  CHECK(validate({kInfinity, 1.0f, 0}).code() == Code::kInvalidArgument);
  for (const float top_p : {0.0f, -1.0f, 1.5f, kNan}) {
    CHECK(validate({1.0f, top_p, 0}).message().starts_with("top_p is "));
  }
  CHECK(sample(std::vector<float>{1.0f}, {-1.0f, 1.0f, 0}, 0).code() == Code::kInvalidArgument);
}

TEST_CASE("frequencies follow the probabilities") {
  // Chi-squared against the definition in doubles. 60 draws-degrees at most; the limit is the
  // 1 - 1e-6 quantile's upper bound d + 7 sqrt(2 d) + 20, and the seeds are fixed.
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
  // Of two equal tokens on the edge the lower id is in. With top_p near 0 the choice is greedy.
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

namespace {

// The upper tail of the chi-squared distribution: the regularized gamma function Q(d/2, x/2), by
// its series below the mean and its continued fraction above. Source: Abramowitz & Stegun 6.5.
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

SamplingParams params_of(float temperature, std::uint64_t seed) {
  SamplingParams params;
  params.temperature = temperature;
  params.seed = seed;
  return params;
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
  // Of equal tokens on the edge the lower ids stay.
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
  CHECK(chosen(praise, 2) == 1);  // both occur in the answer
  CHECK(chosen(repeat, 4) == 2);
  CHECK(chosen(repeat, 0) == 2);
  SamplingParams all;
  all.repeat_penalty = 1.01f;
  all.presence_penalty = 0.5f;
  CHECK(*sample(logits, all, 4, log, 4) == 1);  // 2.0 / 1.01
  CHECK(*sample(logits, all, 4, log, 3) == 2);  // 2.0 / 1.01 - 0.5
}

TEST_CASE("choices of one seed are drawn apart") {
  const std::vector<float> logits(64, 0.0f);
  SamplingParams first = params_of(1.0f, 9), second = first;
  second.choice = 1;
  int equal = 0;
  for (int i = 0; i < 200; ++i) equal += *sample(logits, first, i) == *sample(logits, second, i);
  CHECK(equal < 20);
}

TEST_CASE("the new parameters are checked by name") {
  const auto message = [](auto set) {
    SamplingParams params;
    set(params);
    return validate(params).message();
  };
  CHECK(message([](auto& p) { p.min_p = 1.5f; }) ==
        "min_p is 1.500000, expected a number from 0 to 1");
  CHECK(message([](auto& p) { p.typical = 0.0f; }).starts_with("typical is 0.000000"));
  CHECK(message([](auto& p) { p.repeat_penalty = 0.0f; }).starts_with("repeat_penalty is 0"));
  CHECK(message([](auto& p) { p.presence_penalty = kNan; }).starts_with("presence_penalty is"));
  CHECK(message([](auto& p) { p.frequency_penalty = kInfinity; }).starts_with("frequency_penalty"));
  CHECK(message([](auto& p) { p.logprobs = 21; }) ==
        "logprobs is 21.000000, expected a number from 0 to 20");
  CHECK(message([](auto& p) {
          p.logit_bias = {{-1, 0.0f}};
        }).starts_with("logit_bias of token -1"));
  CHECK(message([](auto& p) {
          p.logit_bias = {{1, kInfinity}};
        }).starts_with("logit_bias of token 1 is inf"));
  CHECK(message([](auto& p) {
          p.logit_bias.resize(1025);
        }).starts_with("logit_bias has 1025 entries"));
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
