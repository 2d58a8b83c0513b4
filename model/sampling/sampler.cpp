#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <troupe/model/sampling/filters.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/model/sampling/weights.h>
#include <troupe/runtime/numerics/philox.h>

// With S and w as weights.h defines them:
//   u   = Philox of (seed, choice, position), a multiple of 2^-53 in [0, 1)
//   no token cut off    the chunk, then the id in it, at which the running sum in id order
//                       exceeds u S
//   only top_p < 1      ids in the total order until their running sum N reaches top_p S, the
//                       one that reaches it included; then the id at which the running sum
//                       exceeds u N
//   other steps         filters.cpp
// If rounding leaves no such id, the last id with w > 0 is taken.

namespace troupe::model {
namespace {

using namespace sampling;

TokenId draw_from_all(const Weights& weights, double u) {
  const double target = u * weights.sum;
  double running = 0;
  std::size_t chunk = 0, last_chunk = 0;
  for (; chunk < weights.chunk_sums.size(); ++chunk) {
    if (weights.chunk_sums[chunk] > 0) last_chunk = chunk;
    if (running + weights.chunk_sums[chunk] > target) break;
    running += weights.chunk_sums[chunk];
  }
  if (chunk == weights.chunk_sums.size()) {
    chunk = last_chunk;
    running = -std::numeric_limits<double>::infinity();  // take the last of the chunk
  }
  const std::size_t begin = chunk * kChunk;
  const std::size_t end = std::min(begin + kChunk, weights.weights.size());
  std::size_t last = begin;
  for (std::size_t i = begin; i < end; ++i) {
    if (weights.weights[i] <= 0) continue;
    last = i;
    running += weights.weights[i];
    if (running > target) break;
  }
  return static_cast<TokenId>(last);
}

// Draws from the nucleus, which is a prefix of the total order, as is the set of all tokens within
// some distance of the largest logit. The distance grows until the nucleus lies inside.
TokenId draw_from_nucleus(std::span<const float> logits, const Weights& weights, float peak,
                          const SamplingParams& params, double u) {
  const double enough = static_cast<double>(params.top_p) * weights.sum;
  const auto weight = [&](const Candidate& one) {
    return static_cast<double>(weights.weights[static_cast<std::size_t>(one.id)]);
  };
  std::vector<Candidate> candidates;
  std::size_t nucleus = 0;  // the number of candidates in it
  double sum = 0;
  for (const float distance : {3.0f, 6.0f, 10.0f, 16.0f, 30.0f, -kFloor}) {
    const float floor = distance == -kFloor ? -std::numeric_limits<float>::infinity()
                                            : peak - distance * params.temperature;
    candidates.clear();
    double mass = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] < floor || weights.weights[i] <= 0) continue;
      candidates.push_back({key_of(logits[i]), static_cast<TokenId>(i)});
      mass += weights.weights[i];
    }
    if (mass < 0.999 * enough && distance != -kFloor) continue;
    sort_candidates(&candidates);
    sum = 0;
    for (nucleus = 0; nucleus < candidates.size() && sum < enough; ++nucleus) {
      sum += weight(candidates[nucleus]);
    }
    if (sum >= enough) break;
  }
  const double target = u * sum;
  double running = 0;
  for (std::size_t i = 0; i < nucleus; ++i) {
    running += weight(candidates[i]);
    if (running > target) return candidates[i].id;
  }
  return candidates[nucleus - 1].id;
}

Status bad_logits(const std::string& what, std::uint64_t position) {
  return Status(Code::kBadData, "cannot choose a token for position " + std::to_string(position) +
                                    ": " + what + "; take another file of the model");
}

}  // namespace

Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params,
                       std::uint64_t position, std::span<const TokenId> log,
                       std::size_t prompt_tokens) {
  TROUPE_RETURN_IF_ERROR(validate(params));
  if (logits.empty()) return bad_logits("there are no logits", position);
  std::vector<float> changed;
  if (params.has_penalties() || !params.logit_bias.empty()) {
    changed.assign(logits.begin(), logits.end());
    TROUPE_RETURN_IF_ERROR(apply_penalties(params, log, prompt_tokens, changed));
    TROUPE_RETURN_IF_ERROR(apply_bias(params, changed));
    logits = changed;
  }
  const Peak peak = peak_of(logits);
  if (peak.any_nan) {
    const auto nan = std::find_if(logits.begin(), logits.end(), [](float x) { return x != x; });
    return bad_logits(
        "the logit of token " + std::to_string(nan - logits.begin()) + " is not a number",
        position);
  }
  if (params.temperature == 0.0f) {
    // The first of the largest is the one with the lowest id.
    const auto first = std::find(logits.begin(), logits.end(), peak.value);
    return static_cast<TokenId>(first - logits.begin());
  }
  if (std::isinf(peak.value)) return bad_logits("the largest logit is infinite", position);
  const Weights weights = weights_of(logits, peak.value, params.temperature);
  const double u = uniform_draw(params.seed, position, params.choice);
  if (params.top_k > 0 || params.typical < 1.0f || params.min_p > 0.0f) {
    return draw_filtered(logits, weights, peak.value, params, u);
  }
  if (params.top_p >= 1.0f) return draw_from_all(weights, u);
  return draw_from_nucleus(logits, weights, peak.value, params, u);
}

Result<TokenId> sample_best(const BestLogit& best, std::uint64_t position) {
  if (best.is_nan || best.id < 0) return bad_logits("a logit is not a number", position);
  return TokenId{best.id};
}

}  // namespace troupe::model
