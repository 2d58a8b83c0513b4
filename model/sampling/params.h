#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// How the tokens of a request are to be chosen, as plain values. sampler.h says what each of them
// does.

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
  std::uint32_t choice = 0;        // distinguishes several answers to one prompt with one seed
  std::uint32_t top_k = 0;         // 0: all
  float min_p = 0.0f;              // in [0, 1]
  float typical = 1.0f;            // in (0, 1]; 1: all
  float repeat_penalty = 1.0f;     // above 0; 1: none
  float presence_penalty = 0.0f;   // finite; 0: none
  float frequency_penalty = 0.0f;  // finite; 0: none
  std::uint32_t logprobs = 0;      // number of log-probabilities to report, at most kLogprobsMax
  std::vector<LogitBias> logit_bias = {};  // at most kBiasesMax; the biases of one id add up

  static constexpr std::uint32_t kLogprobsMax = 20;
  static constexpr std::size_t kBiasesMax = 1024;
  bool has_penalties() const {
    return repeat_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
  // Says whether the id of the largest logit is the answer, whatever the other logits are.
  bool wants_best() const {
    return temperature == 0.0f && !has_penalties() && logprobs == 0 && logit_bias.empty();
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(temperature, top_p, seed, choice, top_k, min_p, typical, repeat_penalty,
            presence_penalty, frequency_penalty, logprobs, logit_bias);
  }
};

// Errors: kInvalidArgument naming the field and its value if that is negative, NaN or out of range.
Status validate(const SamplingParams& params);

}  // namespace troupe::model
