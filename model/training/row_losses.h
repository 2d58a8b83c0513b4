#pragma once

#include <troupe/model/training/head.h>

// The loss of each row that has a target, from its logits (loss.h has the formulas). Called by
// every thread of a step.

namespace troupe::model {

// Computes memory.losses and memory.hits of the slice's rows from their logits and, if `gradients`,
// replaces the logits by their gradient; for plain cross-entropy that is the softmax, minus 1 at
// the target. The teacher's logits are overwritten.
void row_losses(HeadStep& step, bool gradients, int thread);

}  // namespace troupe::model
