#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

// The examples on which a model is trained. Plain values.

namespace troupe::model {

constexpr TokenId kNoTarget = -1;

// One sequence for attention: a text, a chat, or a window of running text.
struct Example {
  std::vector<TokenId> ids;         // at least one
  std::vector<std::uint8_t> types;  // token types of an encoder; empty: all are 0
  // For a model whose rows have logits: what position i should predict, a token or the number of a
  // label; kNoTarget if the position is not trained.
  std::vector<TokenId> targets;
  // For a classifier of texts: the number of the label.
  std::size_t label = 0;
  // For a regression: the value that the model's one output should have.
  float value = 0.0f;
  // The factor of the losses of its positions, and so of its part of the gradients.
  float weight = 1.0f;
  // The example's number in the data, and the epoch, which decide the draws of dropout.
  std::uint64_t number = 0, epoch = 0;
};

}  // namespace troupe::model
