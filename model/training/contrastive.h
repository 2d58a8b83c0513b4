#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <troupe/runtime/machine/thread_pool.h>

// The contrastive loss of embeddings (InfoNCE): the texts of a global batch are groups of an
// anchor, its positive and the same number of hard negatives, one after the other, and each anchor
// should be more similar to its own positive than to every other positive and negative of the
// batch. Source: van den Oord et al. 2018, equation 4; in batches: Henderson et al. 2017.

namespace troupe::model {

struct ContrastiveOptions {
  double temperature = 0.05;  // what the cosines are divided by; above 0
  std::size_t negatives = 0;  // the number of hard negatives of each anchor
  std::size_t group() const { return 2 + negatives; }
};

struct ContrastiveLoss {
  double loss = 0.0;             // the sum over the anchors
  std::size_t hits = 0;          // anchors whose own positive is the most similar
  std::vector<float> gradients;  // (texts, channels): of the sum, with respect to `pooled`
};

// Returns the bytes that contrastive_loss and its arguments take for this number of texts.
std::uint64_t contrastive_bytes(std::size_t texts, std::size_t channels,
                                const ContrastiveOptions& options);

// loss = sum over anchors i of  log(sum over j of exp(s_ij)) - s_ii,  where j are the positives of
// all groups and then the negatives of all groups, and s_ij = cosine(anchor i, j) / temperature.
// Threads split outputs, and each is a chain in double precision in the order of texts, so that the
// bits depend on the values alone.
//   pooled  (texts, channels): a row for each text, not normed; texts is a multiple of the group
ContrastiveLoss contrastive_loss(std::span<const float> pooled, std::size_t channels,
                                 const ContrastiveOptions& options, ThreadPool& pool);

}  // namespace troupe::model
