#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

// What a model is trained on: plain values.

namespace troupe::model {

constexpr TokenId kNoTarget = -1;

// What attention sees as one sequence: a text, a chat, or a window of running text.
struct Example {
  std::vector<TokenId> ids;         // at least one
  std::vector<std::uint8_t> types;  // token types of an encoder; empty: all are 0
  // For a model whose rows have logits: what position i should predict, a token or the number of a
  // label, or kNoTarget where it is not trained.
  std::vector<TokenId> targets;
  // For a classifier of texts: the number of the label.
  std::size_t label = 0;
  // For a regression: what the model's one output should be.
  float value = 0.0f;
  // What the losses of its positions are multiplied by, and so its part of the gradients.
  float weight = 1.0f;
  // Which example of the data it is, and in which epoch: what dropout is drawn by.
  std::uint64_t number = 0, epoch = 0;
};

}  // namespace troupe::model
