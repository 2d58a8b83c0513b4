#pragma once

#include <cstddef>

#include <troupe/model/source/tensor_source.h>
#include <troupe/model/transformer/weights.h>

// Heads that an encoder gets when training begins, because it has none, or one of another kind.

namespace troupe::model {

// Makes a classifier of `labels` labels: its weights are drawn as sin(n) / 50 for n = 1, 2, ...,
// its bias is 0.
void make_classifier(ModelConfig* config, StageWeights* weights, std::size_t labels);

// True if a model's config.json makes the embedding the output matrix, which is the default.
bool ties_embedding(const GgufHeader& header);
// True if a model's file has the whole head that predicts masked tokens.
bool has_mask_head(const GgufHeader& header);
// Makes such a head: its dense layer is drawn with a deviation of 0.02, its norm changes nothing,
// and its biases are 0.
void make_mask_head(ModelConfig* config, StageWeights* weights);

}  // namespace troupe::model
