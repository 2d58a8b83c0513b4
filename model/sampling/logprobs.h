#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

// Log-probabilities of tokens, from the model's own logits: before penalties, bias and temperature.
// Pure.

namespace troupe::model {

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id, logprob);
  }
};

// Returns the log-softmax of `logits` at `id`, with the lane rule's sum.
float log_probability(std::span<const float> logits, TokenId id);

// Returns the log-probability of `id`, and after it those of the `count` likeliest tokens.
std::vector<TokenLogprob> log_probabilities(std::span<const float> logits, TokenId id,
                                            std::size_t count);

}  // namespace troupe::model
