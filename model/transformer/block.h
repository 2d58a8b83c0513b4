#pragma once

#include <troupe/model/transformer/step_context.h>

// The layers of a stage: one transformer block with the options of a ModelConfig.

namespace troupe::model {

// Runs the stage's layers on the rows of the step, x -> x. Every thread of the pool calls it at
// once (SPMD), and it returns after a barrier.
void run_layers(StepContext& step, int thread);

}  // namespace troupe::model
