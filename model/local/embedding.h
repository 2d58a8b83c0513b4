#pragma once

#include <span>
#include <vector>

#include <troupe/model/transformer/stage.h>

// The embedding of a text: one vector, made from the output of an encoder's last layer as
// sentence-transformers does it. Blocks until it is done; a stage has one caller at a time.

namespace troupe::model {

enum class Pooling : std::uint8_t {
  kMean,   // the mean of all rows, special tokens included
  kFirst,  // the first row
};
struct EmbeddingOptions {
  Pooling pooling = Pooling::kMean;
  bool normalizes = true;  // divides by the Euclidean norm
};

// Returns the embedding of `ids`, of as many values as the model has channels. Sums are in double
// precision in the order of the rows, so that the bits depend on nothing else.
//   Errors: as sequence_hidden.
Result<std::vector<float>> embed_text(Stage& whole_model, std::span<const TokenId> ids,
                                      const EmbeddingOptions& options);

}  // namespace troupe::model
