#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <troupe/model/philox.h>
#include <troupe/model/sampler.h>
#include <troupe/runtime/kernels/kernels.h>

// The definition, which every machine follows bit for bit (f32 unless it says double):
//   z_i = (logit_i - max) / temperature      w_i = exp_bits(z_i), or 0 when z_i < kFloor
//   S   = sum over chunks of kChunk ids, in order, of the chunk's sum: 16 partial sums by id mod
//   16,
//         halves added 8, 4, 2, 1 apart; in double
//   u   = Philox of (seed, position), a multiple of 2^-53 in [0, 1)
//   top_p = 1: the chunk, then the id in it, at which the running sum in id order exceeds u S
//   top_p < 1: ids in the total order (logit descending, id ascending) until their running sum N
//         reaches top_p S, the one that reaches it included; then the id at which the running sum
//         exceeds u N
// Sums are exact enough that the last id with w > 0 stands in when rounding leaves none.

namespace troupe::model {
namespace {

constexpr std::size_t kLanes = 16;
constexpr std::size_t kChunk = 4096;
// exp(-80) of the largest token: what lies below cannot be drawn in practice, and 0 keeps masked
// logits (-inf) from ever being drawn.
constexpr float kFloor = -80.0f;

// The bits are the same from every target; the widest is only faster.
const kernels::Kernels& exp_table() {
  static const kernels::Kernels& table = [&]() -> const kernels::Kernels& {
    const Result<kernels::Isa> isa = kernels::choose_isa();
    return kernels::table(isa.is_ok() ? *isa : kernels::Isa::kScalar);
  }();
  return table;
}

struct Peak {
  float value = -std::numeric_limits<float>::infinity();
  bool any_nan = false;
};

// The order of the comparisons does not change a maximum, so lanes may share the work.
Peak peak_of(std::span<const float> logits) {
  std::array<float, kLanes> best;
  best.fill(-std::numeric_limits<float>::infinity());
  std::array<int, kLanes> nan{};
  const std::size_t whole = logits.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float x = logits[i + lane];
      best[lane] = x > best[lane] ? x : best[lane];
      nan[lane] |= x != x;
    }
  }
  Peak peak;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    peak.value = std::max(peak.value, best[lane]);
    peak.any_nan |= nan[lane] != 0;
  }
  for (std::size_t i = whole; i < logits.size(); ++i) {
    peak.any_nan |= logits[i] != logits[i];
    if (logits[i] > peak.value) peak.value = logits[i];
  }
  return peak;
}

double chunk_sum(std::span<const float> weights) {
  std::array<double, kLanes> partial{};
  const std::size_t whole = weights.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) partial[lane] += weights[i + lane];
  }
  for (std::size_t i = whole; i < weights.size(); ++i) partial[i - whole] += weights[i];
  for (std::size_t apart = kLanes / 2; apart > 0; apart /= 2) {
    for (std::size_t lane = 0; lane < apart; ++lane) partial[lane] += partial[lane + apart];
  }
  return partial[0];
}

struct Weights {
  std::vector<float> weights;      // w
  std::vector<double> chunk_sums;  // of each kChunk ids
  double sum = 0;                  // S
};

Weights weights_of(std::span<const float> logits, float peak, float temperature) {
  Weights out;
  out.weights.resize(logits.size());
  std::array<float, kChunk> scaled;
  for (std::size_t begin = 0; begin < logits.size(); begin += kChunk) {
    const std::size_t count = std::min(kChunk, logits.size() - begin);
    for (std::size_t i = 0; i < count; ++i) scaled[i] = (logits[begin + i] - peak) / temperature;
    float* weights = out.weights.data() + begin;
    exp_table().exp(scaled.data(), weights, count);
    for (std::size_t i = 0; i < count; ++i) weights[i] = scaled[i] < kFloor ? 0.0f : weights[i];
    out.chunk_sums.push_back(chunk_sum({weights, count}));
    out.sum += out.chunk_sums.back();
  }
  return out;
}

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

struct Candidate {
  std::uint32_t key;  // ascending keys are descending logits
  TokenId id;
};

// Both zeros get one key, since they are equal.
std::uint32_t key_of(float logit) {
  const auto bits = std::bit_cast<std::uint32_t>(logit + 0.0f);
  return (bits >> 31) != 0 ? bits : ~bits & 0x7fffffffu;
}

// The total order, of candidates whose ids ascend. Radix passes are stable, and many times as fast
// as comparisons where a flat distribution leaves most of a large vocabulary.
void sort_candidates(std::vector<Candidate>* candidates) {
  constexpr std::size_t kFew = 512;
  if (candidates->size() < kFew) {
    std::stable_sort(candidates->begin(), candidates->end(),
                     [](const Candidate& a, const Candidate& b) { return a.key < b.key; });
    return;
  }
  constexpr unsigned kBits = 11;
  constexpr std::uint32_t kMask = (1u << kBits) - 1;
  std::vector<Candidate> sorted(candidates->size());
  for (unsigned shift = 0; shift < 32; shift += kBits) {
    std::array<std::size_t, kMask + 2> begins{};
    for (const Candidate& one : *candidates) ++begins[(one.key >> shift & kMask) + 1];
    for (std::size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
    for (const Candidate& one : *candidates) sorted[begins[one.key >> shift & kMask]++] = one;
    candidates->swap(sorted);
  }
}

// The nucleus is a prefix of the total order, and so is the set of all tokens within some distance
// of the largest: the distance grows until the nucleus lies inside.
TokenId draw_from_nucleus(std::span<const float> logits, const Weights& weights, float peak,
                          const SamplingParams& params, double u) {
  const double enough = static_cast<double>(params.top_p) * weights.sum;
  const auto weight = [&](const Candidate& one) {
    return static_cast<double>(weights.weights[static_cast<std::size_t>(one.id)]);
  };
  std::vector<Candidate> candidates;
  std::size_t nucleus = 0;  // how many of the candidates
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
                                    ": " + what + "; the model's weights may be damaged");
}

}  // namespace

Status validate(const SamplingParams& params) {
  if (!(params.temperature >= 0.0f) || std::isinf(params.temperature)) {
    return Status(Code::kInvalidArgument, "temperature is " + std::to_string(params.temperature) +
                                              ", expected a number from 0 (greedy) up");
  }
  if (!(params.top_p > 0.0f && params.top_p <= 1.0f)) {
    return Status(Code::kInvalidArgument, "top_p is " + std::to_string(params.top_p) +
                                              ", expected a number above 0 and at most 1");
  }
  return Status::ok();
}

Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params,
                       std::uint64_t position) {
  TROUPE_RETURN_IF_ERROR(validate(params));
  if (logits.empty()) return bad_logits("there are no logits", position);
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
  const double u = uniform_draw(params.seed, position);
  if (params.top_p >= 1.0f) return draw_from_all(weights, u);
  return draw_from_nucleus(logits, weights, peak.value, params, u);
}

float log_probability(std::span<const float> logits, TokenId id) {
  TROUPE_CHECK(id >= 0 && static_cast<std::size_t>(id) < logits.size(), std::to_string(id));
  const Peak peak = peak_of(logits);
  if (peak.any_nan) return std::numeric_limits<float>::quiet_NaN();
  const Weights weights = weights_of(logits, peak.value, 1.0f);
  return logits[static_cast<std::size_t>(id)] - peak.value -
         kernels::log_bits(static_cast<float>(weights.sum));
}

}  // namespace troupe::model
