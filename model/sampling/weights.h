#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

// The numbers that sampling works on: weights proportional to probabilities and their sums, and the
// total order of tokens. For the .cpp files of this room. Pure.
// Every machine follows this definition bit for bit (in f32 unless it says double):
//   z_i = (logit_i - max) / temperature      w_i = exp_bits(z_i), or 0 if z_i < kFloor
//   S   = the sum over chunks of kChunk ids, in order, of the chunk's sum. A chunk's sum is made of
//         16 partial sums by id mod 16, which are added 8, 4, 2 and 1 apart, in double

namespace troupe::model::sampling {

inline constexpr std::size_t kChunk = 4096;
// Tokens below exp(-80) of the largest cannot be drawn in practice. The weight 0 keeps masked
// logits
// (-inf) from ever being drawn.
inline constexpr float kFloor = -80.0f;

struct Peak {
  float value = -std::numeric_limits<float>::infinity();
  bool any_nan = false;
};
Peak peak_of(std::span<const float> logits);

struct Weights {
  std::vector<float> weights;      // w
  std::vector<double> chunk_sums;  // one for each kChunk ids
  double sum = 0;                  // S
};
Weights weights_of(std::span<const float> logits, float peak, float temperature);

struct Candidate {
  std::uint32_t key;  // ascending keys are descending logits
  TokenId id;
};
// Returns one key for both zeros, since they are equal.
std::uint32_t key_of(float logit);
// Brings candidates whose ids ascend into the total order.
void sort_candidates(std::vector<Candidate>* candidates);

}  // namespace troupe::model::sampling
