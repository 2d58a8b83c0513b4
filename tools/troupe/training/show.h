#pragma once

#include <cstddef>

#include <troupe/tools/troupe/training/job.h>

// `troupe finetune --show N`: what the model would be trained on, without training.

namespace troupe::tools {

// Prints the first `count` examples on stdout: the texts of their tokens, those that are trained in
// colour on a terminal and between « and » elsewhere; with `json`, an object an example.
//   Errors: none that the tokenizer did not give before.
Status show_examples(const Job& job, std::size_t count, bool json);

}  // namespace troupe::tools
