#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/model/training/example.h>
#include <troupe/model/training/parameters.h>

// The gradients of the embedding tables: of tokens, positions and token types. A row of a table is
// a sum over the positions where its index occurs, in the shape of the batch's other sums; leaves
// without it take no part. Because few rows occur, the gradients of all positions of a global batch
// are kept until its end, and each row's sum is formed then, at once.

namespace troupe::model {

// (tokens of the global batch, C): the gradient of each position's embedding.
struct EmbeddingGradients {
  std::span<const float> values;
  std::span<const Example> batch;
  std::size_t channels = 0;
};

enum class EmbeddingTable { kToken, kPosition, kType };

// Zeroes the gradient of `table` and writes the rows that occur; with `add`, adds the rows to the
// gradient instead (a tied matrix has the sum of its two uses). Called by every thread; ends with a
// barrier.
void embedding_gradient(const EmbeddingGradients& from, EmbeddingTable which, bool add,
                        Parameter& table, ThreadPool& pool, int thread, int threads);

}  // namespace troupe::model
