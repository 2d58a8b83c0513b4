#pragma once

#include <cstddef>

#include <troupe/tools/troupe/training/job.h>

// `troupe finetune --show N`: shows what the model would be trained on, without training.

namespace troupe::tools {

// Prints the first `count` examples on stdout, as the texts of their tokens. Trained tokens are in
// colour on a terminal, and between « and » elsewhere. With `json`, prints an object for each
// example.
//   Errors: those of the tokenizer, which it reports earlier.
Status show_examples(const Job& job, std::size_t count, bool json);

}  // namespace troupe::tools
