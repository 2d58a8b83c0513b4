#pragma once

#include <cstddef>

#include <troupe/model/transformer.h>

// The measurement of `troupe bench`: how fast a prompt is read and tokens are made, one stream, one
// process. The loop is the one that llama-bench runs, so that figures compare.

namespace troupe::model {

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

}  // namespace troupe::model
