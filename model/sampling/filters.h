#pragma once

#include <cstddef>
#include <span>

#include <troupe/model/sampling/params.h>
#include <troupe/model/sampling/weights.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// The steps of sampling that change logits or cut tokens off. sampler.h says what they do and in
// which order. For sampler.cpp. Pure.

namespace troupe::model::sampling {

// Applies the penalties. The first `prompt_tokens` tokens of the log are the prompt's. Errors:
// kBadData if a token of the log is not in the vocabulary.
Status apply_penalties(const SamplingParams& params, std::span<const TokenId> log,
                       std::size_t prompt_tokens, std::span<float> logits);
// Errors: kInvalidArgument if a token is not in the vocabulary.
Status apply_bias(const SamplingParams& params, std::span<float> logits);

// Does steps 5 to 9. Every sum runs in the total order, in double:
//   typical: N is the sum of what top-k has left. The surprise of a token is ln N - z, and the mean
//   H
//            is the sum of w/N * surprise. Tokens are kept by |surprise - H|, equal ones in the
//            total order, until their running sum reaches typical * N, the one that reaches it
//            included
//   top-p:   tokens are kept until the running sum reaches top_p times the sum of what is left
//   min-p:   tokens are kept if w >= min_p * the largest w that is left
// `u` in [0, 1); `peak` is the largest logit.
TokenId draw_filtered(std::span<const float> logits, const Weights& weights, float peak,
                      const SamplingParams& params, double u);

}  // namespace troupe::model::sampling
