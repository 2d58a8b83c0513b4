#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/training/loss.h>
#include <troupe/model/training/micro_batch.h>
#include <troupe/model/training/team.h>

// What comes after the layers: the final norm and the output matrix of a decoder, or the pooler and
// the classifier of an encoder, with the loss. Forward and backward are one call, because the
// gradient of the logits takes their place in memory.

namespace troupe::model {

// The memory for the target rows of a micro-batch, of which there are S.
struct HeadMemory {
  float* x = nullptr;                         // (S,C): the rows that the head reads
  float* normed = nullptr;                    // (S,C): after the norm, or of the pooler
  float* logits = nullptr;                    // (S, outputs), in blocks of kVocabularyBlock columns
  float* dnormed = nullptr;                   // (S,C)
  float *mean = nullptr, *inverse = nullptr;  // (S)
  float* losses = nullptr;                    // (S): of each row
  std::uint8_t* hits = nullptr;               // (S): 1 if the target has the largest logit
};

// Whether the head multiplies with the table of token embeddings.
inline bool has_tied_head(const ModelConfig& config) {
  return config.causal && config.tied_embedding;
}

struct HeadStep {
  const ModelConfig& config;
  Parameters& parameters;
  Team& team;
  const MicroBatch& batch;
  const LossOptions& loss;
  HeadMemory memory;
};

// Computes memory.logits from x, the layers' result: (T,C) of a decoder, (examples, C) of an
// encoder with a classifier. Called by every thread.
void head_forward(HeadStep& step, const float* x, int thread);
// Computes memory.losses and memory.hits from the logits and, if `gradients`, puts their gradient
// in the place of the logits: softmax, minus 1 at the target, of plain cross-entropy.
void row_losses(HeadStep& step, bool gradients, int thread);
// An encoder that pools uses these two instead. pool_forward computes memory.x (examples, C), the
// mean of each example's rows of x (T,C); pool_backward turns the means' gradient into dx (T,C).
void pool_forward(HeadStep& step, const float* x, int thread);
void pool_backward(HeadStep& step, const float* dpooled, float* dx, int thread);
// Computes from the gradient of the logits the head's gradients, which it adds to what is there,
// and dx, the gradient of x.
void head_backward(HeadStep& step, float* dx, int thread);

}  // namespace troupe::model
