#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// Logits -> token. A pure function: the draw depends on (seed, choice, absolute position) only, so
// that the same request gives the same text on any machine, in any company, after any replay.
// The steps, in this order, each on what the one before has left:
//   1. penalties, for every token of the log (prompt and answer), n times in it:
//      repetition r: logit / r when above 0, else logit * r;
//      then logit - (frequency * n + presence)
//   2. logit bias: logit + bias
//   3. temperature 0: the largest logit, and no further step
//   4. temperature: probabilities from logit / temperature
//   5. top-k: the k likeliest
//   6. typical: those whose surprise is nearest to the mean surprise, until they sum to `typical`
//   7. top-p: the likeliest until they sum to top_p of what is left
//   8. min-p: those with at least min_p times the probability of the likeliest that is left
//   9. the draw
// "Likeliest" is a total order: logit descending, id ascending. No libm: bits are equal everywhere.
// Sources: Holtzman et al. 2020 (top-p), Meister et al. 2023 (typical), Keskar et al. 2019
// (repetition), Nguyen et al. 2024 (min-p).

namespace troupe::model {

struct LogitBias {
  TokenId id = 0;
  float bias = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id, bias);
  }
};

struct SamplingParams {
  float temperature = 0.0f;  // 0: greedy
  float top_p = 1.0f;        // in (0, 1]
  std::uint64_t seed = 0;
  std::uint32_t choice = 0;        // tells apart several answers to one prompt with one seed
  std::uint32_t top_k = 0;         // 0: all
  float min_p = 0.0f;              // in [0, 1]
  float typical = 1.0f;            // in (0, 1]; 1: all
  float repeat_penalty = 1.0f;     // above 0; 1: none
  float presence_penalty = 0.0f;   // finite; 0: none
  float frequency_penalty = 0.0f;  // finite; 0: none
  std::uint32_t logprobs = 0;      // at most kLogprobsMax: how many log-probabilities to report
  std::vector<LogitBias> logit_bias = {};  // at most kBiasesMax; a later one of an id adds up

  static constexpr std::uint32_t kLogprobsMax = 20;
  static constexpr std::size_t kBiasesMax = 1024;
  bool has_penalties() const {
    return repeat_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(temperature, top_p, seed, choice, top_k, min_p, typical, repeat_penalty,
            presence_penalty, frequency_penalty, logprobs, logit_bias);
  }
};
// kInvalidArgument naming the field and the value (negative, NaN, out of range).
Status validate(const SamplingParams& params);

// `position` is the absolute position of the token being chosen, `log` all tokens before it (looked
// at for penalties only). kBadData when a logit is NaN or a token of the log is not in the
// vocabulary; kInvalidArgument when a bias is for a token that is not.
Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params,
                       std::uint64_t position, std::span<const TokenId> log = {});

// log-softmax of `logits` at `id`, with the lane rule's sum.
float log_probability(std::span<const float> logits, TokenId id);

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id, logprob);
  }
};
// The log-probability of `id` and those of the `count` likeliest tokens, from the model's own
// logits: before penalties, bias and temperature. The first entry is `id`'s.
std::vector<TokenLogprob> log_probabilities(std::span<const float> logits, TokenId id,
                                            std::size_t count);

}  // namespace troupe::model
