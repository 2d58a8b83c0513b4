#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include <troupe/model/config/model_config.h>
#include <troupe/model/source/tensor_source.h>

// A model that does not exist yet: its sizes, and weights that are drawn when they are asked for.
// Its header is that of a Hugging Face folder (source/hf_folder.h), with the texts of another
// model's tokenizer. Used to train from scratch.

namespace troupe::model {

struct NewModelOptions {
  // The family and the sizes. Sizes that a family does not have are not read; a vocabulary of 0
  // means that of the tokenizer.
  ModelConfig config;
  // A folder with tokenizer.json, or a GGUF file, whose weights are not read.
  std::filesystem::path tokenizer;
  std::uint64_t seed = 0;
  double deviation = 0.02;  // of the matrices' values
};

// Makes the header and checks it. A value of a matrix depends on (seed, the tensor's GGUF name, the
// value's place in it) alone: it is the sum of four uniform draws, which is almost normally
// distributed, with mean 0 and standard deviation `deviation`, and never more than 3.46 deviations
// from 0. If the model norms its layers' inputs, the deviation is divided by sqrt(2 * layers) for
// matrices whose results are added to the residual stream. Norm weights are 1, biases 0. Source:
// Radford et al. 2019, section 2.3.
//   Errors: kInvalidArgument if the family cannot be trained, or the tokenizer has more tokens than
//   the vocabulary; kFailedPrecondition if there is no tokenizer; the errors of reading the
//   tokenizer's files.
Result<std::unique_ptr<TensorSource>> new_model(const NewModelOptions& options);

}  // namespace troupe::model
