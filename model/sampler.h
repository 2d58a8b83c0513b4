#pragma once

#include <cstdint>
#include <span>

#include <troupe/model/tokenizer.h>

// Logits -> token. A pure function: the draw depends on (seed, absolute position) only, so that
// the same request gives the same text on any machine, in any company, after any replay.

namespace troupe::model {

struct SamplingParams {
  float temperature = 0.0f;  // 0: greedy
  float top_p = 1.0f;        // in (0, 1]
  std::uint64_t seed = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(temperature, top_p, seed);
  }
};
// kInvalidArgument naming the field and the value (negative, NaN, out of range).
Status validate(const SamplingParams& params);

// `position` is the absolute position of the token being chosen. Ties go to the lower id (total
// order: value descending, id ascending). kBadData when a logit is NaN. No libm: bits are equal on
// every machine. The uniform draw is counter-based: Philox or SplitMix of (seed, position).
Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params,
                       std::uint64_t position);

// log-softmax of `logits` at `id`, with the lane rule's sum.
float log_probability(std::span<const float> logits, TokenId id);

}  // namespace troupe::model
