#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/model/transformer/stage.h>

// The measurement of `troupe bench`: how fast one process reads a prompt and makes tokens, for one
// stream and for several at once. The loops are those of llama-bench, so that figures compare.

namespace troupe::model {

// Returns the i-th id of the prompt that is measured, whose ids spread over the vocabulary.
TokenId bench_token(std::size_t i, std::size_t vocabulary);
// The number of positions of every sequence of a batch that are not measured.
constexpr std::size_t kBatchWarmUp = 16;
double median(std::vector<double> values);  // of at least one value

struct BenchResult {
  double prompt_tok_s_median = 0, prompt_tok_s_best = 0;
  double decode_tok_s_median = 0, decode_tok_s_best = 0;
};

// Warms up, then measures `repeats` times: a prompt of `prompt` tokens in an empty sequence (with
// the logits of its last row), and, after one token, `decode` steps of one token with logits each.
//   Blocks. Errors: kInvalidArgument if a count is 0, the context is too short, or `whole_model` is
//   only a part of a model.
Result<BenchResult> run_bench(Stage& whole_model, std::size_t prompt, std::size_t decode,
                              std::size_t repeats);

struct BatchRate {
  std::size_t sequences = 0;
  double decode_tok_s = 0;  // the total of all sequences; the median of the repeats
};

// For each of `sizes`, runs this number of sequences at once, `repeats` times. Each time,
// kBatchWarmUp positions of each sequence come first, which are not measured; then `decode` steps
// are measured, each of which has one row a sequence, with logits.
//   Blocks. Errors: as run_bench; kInvalidArgument if a size is 0; kResourceExhausted if the keys
//   and values do not fit.
Result<std::vector<BatchRate>> run_batch_bench(Stage& whole_model,
                                               std::span<const std::size_t> sizes,
                                               std::size_t decode, std::size_t repeats);

}  // namespace troupe::model
