#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <troupe/model/training/loss.h>
#include <troupe/model/training/micro_batch.h>
#include <troupe/model/training/team.h>

// The head, which follows the layers: the final norm and the output matrix of a decoder; the
// classifier of an encoder, after a pooler or for each row; or the head that predicts masked
// tokens. The loss is computed between forward and backward (row_losses.h), and the gradient of the
// logits replaces them in memory.

namespace troupe::model {

// The memory for the target rows of a micro-batch, of which there are S. Logits lie there for a
// slice of R rows at a time; R is S if something needs all logits at once (slice_rows).
struct HeadMemory {
  float* x = nullptr;                         // (S,C): the rows that the head reads
  float* normed = nullptr;                    // (S,C): after the norm, or of the pooler
  float* logits = nullptr;                    // (R, outputs), in blocks of logit_block columns
  float* dnormed = nullptr;                   // (S,C)
  float *dense = nullptr, *active = nullptr;  // (S,C): of EncoderHead::kMask, around its activation
  float *mean = nullptr, *inverse = nullptr;  // (S)
  float* losses = nullptr;                    // (S): of each row
  std::uint8_t* hits = nullptr;               // (S): 1 if the target has the largest logit
};

// Returns the number of columns of logits that lie together: a vocabulary is cut into blocks.
inline std::size_t logit_block(const ModelConfig& config) {
  return config.gives_tokens() ? kVocabularyBlock : config.labels;
}
// True if the head multiplies by the table of token embeddings, whose gradient is then the sum of
// both uses.
inline bool has_tied_head(const ModelConfig& config) {
  return config.gives_tokens() && config.tied_embedding;
}

// The most rows of a slice whose logits lie in memory together.
inline constexpr std::size_t kSliceRows = 384;
// Returns R for S target rows. The gradient of an output matrix is a sum over all rows, a teacher's
// logits lie beside all of the model's, and other heads have few logits: these take S.
inline std::size_t slice_rows(const ModelConfig& config, std::size_t targets, bool needs_all) {
  if (!config.causal || needs_all || targets <= kSliceRows) return targets;
  const std::size_t slices = (targets + kSliceRows - 1) / kSliceRows;
  return (targets + slices - 1) / slices;
}

// Returns the slot of the matrix that turns a decoder's rows into logits.
inline std::size_t output_slot(const ModelConfig& config) {
  return config.tied_embedding ? kTokenEmbedding : kOutput;
}

struct HeadStep {
  const ModelConfig& config;
  Parameters& parameters;
  Team& team;
  const MicroBatch& batch;
  const LossOptions& loss;
  HeadMemory memory;
  // The teacher's logits of the target rows, in the same blocks, which row_losses overwrites;
  // nullptr if there is no teacher.
  float* teacher_logits = nullptr;
  IndexRange slice{0, batch.target_rows.size()};  // the target rows whose logits are computed

  std::size_t rows() const { return slice.end - slice.begin; }
};

// Calls body(first column, columns, block of logits) for each block of `logits`, which lie as
// memory.logits do.
template <class Body>
void for_each_block(const HeadStep& step, float* logits, Body body) {
  const std::size_t rows = step.rows(), outputs = step.config.outputs();
  const std::size_t block = logit_block(step.config);
  for (std::size_t first = 0; first < outputs; first += block)
    body(first, std::min(block, outputs - first), logits + first * rows);
}

// Computes the slice's logits from x, the layers' result: (T,C), or (examples, C) of a classifier
// of texts. The slices come in order, each followed by its loss and its backward pass. Called by
// every thread.
void head_forward(HeadStep& step, const float* x, int thread);
// The next two functions are for encoders that pool. pool_forward computes memory.x (examples, C),
// the mean of each example's rows of x (T,C); pool_backward turns the means' gradient into dx
// (T,C).
void pool_forward(HeadStep& step, const float* x, int thread);
void pool_backward(HeadStep& step, const float* dpooled, float* dx, int thread);
// Computes the head's gradients from the gradient of the slice's logits, and adds them to those
// that are there; with the last slice it also computes dx, the gradient of x.
void head_backward(HeadStep& step, float* dx, int thread);

}  // namespace troupe::model
