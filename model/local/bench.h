#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/model/transformer/stage.h>

// The measurement of `troupe bench`: how fast a prompt is read and tokens are made, by one stream
// and by several at once, in one process. The loops are those that llama-bench runs, so that
// figures compare.

namespace troupe::model {

// What a measurement reads: the i-th id of a prompt that spreads over the vocabulary.
TokenId bench_token(std::size_t i, std::size_t vocabulary);
// Positions of every sequence of a batch that are not measured.
constexpr std::size_t kBatchWarmUp = 16;
double median(std::vector<double> values);  // of at least one

struct BenchResult {
  double prompt_tok_s_median = 0, prompt_tok_s_best = 0;
  double decode_tok_s_median = 0, decode_tok_s_best = 0;
};

// A warm-up, then `repeats` times: a prompt of `prompt` tokens into an empty sequence (logits of
// its last row), and, after one token, `decode` steps of one token with logits each.
//   Blocks. Errors: kInvalidArgument when a count is 0 or the context too short, or `whole_model`
//   is a part of a model.
Result<BenchResult> run_bench(Stage& whole_model, std::size_t prompt, std::size_t decode,
                              std::size_t repeats);

struct BatchRate {
  std::size_t sequences = 0;
  double decode_tok_s = 0;  // the total of all sequences; the median of the repeats
};

// For each of `sizes`, `repeats` times: so many sequences at once, 16 positions each that are not
// measured, then `decode` steps of one row a sequence with logits each.
//   Blocks. Errors: as run_bench; kInvalidArgument when a size is 0, kResourceExhausted when the
//   keys and values do not fit.
Result<std::vector<BatchRate>> run_batch_bench(Stage& whole_model,
                                               std::span<const std::size_t> sizes,
                                               std::size_t decode, std::size_t repeats);

}  // namespace troupe::model
