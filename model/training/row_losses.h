#pragma once

#include <troupe/model/training/head.h>

// The loss of each row that has a target, from its logits (loss.h has the formulas). Called by
// every thread of a step.

namespace troupe::model {

// Computes memory.losses and memory.hits of the slice's rows from their logits and, if `gradients`,
// puts their gradient in the place of the logits: softmax, minus 1 at the target, of plain
// cross-entropy. The teacher's logits are used up.
void row_losses(HeadStep& step, bool gradients, int thread);

}  // namespace troupe::model
