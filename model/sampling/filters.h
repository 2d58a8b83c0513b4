#pragma once

#include <span>

#include <troupe/model/sampling/sampler.h>
#include <troupe/model/sampling/weights.h>

// The steps of sampling that change logits or cut tokens off; sampler.h says what they do and in
// which order. For sampler.cpp. Pure.

namespace troupe::model::sampling {

// kBadData when a token of the log is not in the vocabulary.
Status apply_penalties(const SamplingParams& params, std::span<const TokenId> log,
                       std::span<float> logits);
// kInvalidArgument when a token is not in the vocabulary.
Status apply_bias(const SamplingParams& params, std::span<float> logits);

// Steps 5 to 9. Every sum runs in the total order, in double:
//   typical: with the sum N of what top-k has left, the surprise of a token is ln N - z and the
//            mean H = sum of w/N * surprise; tokens by |surprise - H|, equals in the total order,
//            until their running sum reaches typical * N, the one that reaches it included
//   top-p:   until the running sum reaches top_p times the sum of what is left
//   min-p:   w >= min_p * the largest w that is left
// `u` in [0, 1); `peak` is the largest logit.
TokenId draw_filtered(std::span<const float> logits, const Weights& weights, float peak,
                      const SamplingParams& params, double u);

}  // namespace troupe::model::sampling
