#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <troupe/model/sampling/params.h>
#include <troupe/model/transformer/stage.h>

// Runs a whole model on this machine without actors: a plain generate loop, logits, and perplexity.
// The local verbs use it, and tests: every distributed run must equal it bit for bit.
// Every function blocks until it is done. A stage has one caller at a time.

namespace troupe::model {

// The number of a prompt's rows in one step; results do not depend on it.
constexpr std::size_t kPromptChunk = 512;

struct GenerateOptions {
  std::size_t tokens_max = 128;
  SamplingParams sampling;
  std::span<const TokenId> end_tokens;      // generation ends at one of these
  std::size_t prompt_chunk = kPromptChunk;  // rows of a prompt in one step
};
struct Generation {
  std::vector<TokenId> token_ids;  // the end token included
  bool ended = false;              // by an end token, not by tokens_max
};
// Feeds `prompt` and samples up to tokens_max tokens.
//   Errors: kInvalidArgument if `whole_model` is only a part of a model, the prompt is empty, or
//   there are more positions than the context has.
Result<Generation> generate(Stage& whole_model, std::span<const TokenId> prompt,
                            const GenerateOptions& options);

// Returns the logits of every position of `ids` in an empty context: (T,V), (T,L) for a classifier
// of tokens, or (L) for one of texts. `token_types` is as in StepInput. A step has `chunk` rows;
// the result does not depend on it.
//   Errors: kInvalidArgument if the stage is only a part of a model, there are no ids, they do not
//   fit, or the model has no head.
Result<std::vector<float>> sequence_logits(Stage& whole_model, std::span<const TokenId> ids,
                                           std::span<const std::uint8_t> token_types,
                                           std::size_t chunk);

// Returns what an encoder without a head computes from `ids`: (T,C), a row for every position.
//   Errors: kInvalidArgument as sequence_logits, and for any other kind of model.
Result<std::vector<float>> sequence_hidden(Stage& whole_model, std::span<const TokenId> ids,
                                           std::span<const std::uint8_t> token_types);

struct Perplexity {
  // For each window, the mean of -log p(token | the window before it) from position 1 on.
  std::vector<double> window_nll;
  double mean_nll = 0.0;  // over windows
};
// Scores the first `windows` windows of `window` tokens each, every one from an empty context.
//   Errors: kInvalidArgument if there are fewer ids, or window < 2.
Result<Perplexity> perplexity(Stage& whole_model, std::span<const TokenId> ids, std::size_t window,
                              std::size_t windows);

}  // namespace troupe::model
