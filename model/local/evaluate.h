#pragma once

#include <span>
#include <vector>

#include <troupe/model/sampling/sampler.h>
#include <troupe/model/transformer/stage.h>

// A whole model on this machine, without actors: a plain generate loop and perplexity. Used by the
// local verbs and by tests, as the measure that every distributed run must equal bit for bit.
// Blocks until done; one caller at a time per stage.

namespace troupe::model {

// The order in which prompts are fed; results do not depend on it.
constexpr std::size_t kPromptChunk = 512;

struct GenerateOptions {
  std::size_t tokens_max = 128;
  SamplingParams sampling;
  std::span<const TokenId> end_tokens;      // generation ends with one of these
  std::size_t prompt_chunk = kPromptChunk;  // rows of a prompt per step
};
struct Generation {
  std::vector<TokenId> token_ids;  // the end token included
  bool ended = false;              // by an end token, not by tokens_max
};
// Feeds `prompt` and samples up to tokens_max tokens. kInvalidArgument: `whole_model` is a part of
// a model, an empty prompt, or more positions than the context.
Result<Generation> generate(Stage& whole_model, std::span<const TokenId> prompt,
                            const GenerateOptions& options);

// Logits of every position of `ids` in an empty context: (T,V); of a classifier (L). `token_types`
// as in StepInput. `chunk` rows a step; the result does not depend on it.
//   Errors: kInvalidArgument: a part of a model, no ids, ids that do not fit, a model without a
//   head.
Result<std::vector<float>> sequence_logits(Stage& whole_model, std::span<const TokenId> ids,
                                           std::span<const std::uint8_t> token_types,
                                           std::size_t chunk);

// What an encoder without a head makes of `ids`: (T,C), a row for every position.
//   Errors: kInvalidArgument as sequence_logits, and for any other model.
Result<std::vector<float>> sequence_hidden(Stage& whole_model, std::span<const TokenId> ids,
                                           std::span<const std::uint8_t> token_types);

struct Perplexity {
  std::vector<double> window_nll;  // mean of -log p(token | window before it), positions 1..
  double mean_nll = 0.0;           // over windows
};
// The first `windows` windows of `window` tokens each, every one from an empty context.
//   Errors: kInvalidArgument when the ids are fewer, or window < 2.
Result<Perplexity> perplexity(Stage& whole_model, std::span<const TokenId> ids, std::size_t window,
                              std::size_t windows);

}  // namespace troupe::model
