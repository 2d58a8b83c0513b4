#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/numerics/elementary.h>

// The numbers that sampling works on: weights proportional to probabilities and their sums, and the
// total order of tokens. For sampler.cpp and sampler_filters.cpp. Pure.
// The definition, which every machine follows bit for bit (f32 unless it says double):
//   z_i = (logit_i - max) / temperature      w_i = exp_bits(z_i), or 0 when z_i < kFloor
//   S   = sum over chunks of kChunk ids, in order, of the chunk's sum: 16 partial sums by id mod
//   16, halves added 8, 4, 2, 1 apart; in double

namespace troupe::model::sampling {

inline constexpr std::size_t kChunk = 4096;
// exp(-80) of the largest token: what lies below cannot be drawn in practice, and 0 keeps masked
// logits (-inf) from ever being drawn.
inline constexpr float kFloor = -80.0f;

struct Peak {
  float value = -std::numeric_limits<float>::infinity();
  bool any_nan = false;
};
Peak peak_of(std::span<const float> logits);

struct Weights {
  std::vector<float> weights;      // w
  std::vector<double> chunk_sums;  // of each kChunk ids
  double sum = 0;                  // S
};
Weights weights_of(std::span<const float> logits, float peak, float temperature);

struct Candidate {
  std::uint32_t key;  // ascending keys are descending logits
  TokenId id;
};
// Both zeros get one key, since they are equal.
std::uint32_t key_of(float logit);
// The total order, of candidates whose ids ascend.
void sort_candidates(std::vector<Candidate>* candidates);

}  // namespace troupe::model::sampling
