#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/training/trainer.h>

// How much memory a run will need, from its configuration and its examples, before a weight is
// loaded. Pure.

namespace troupe::model {

struct MemoryPlan {
  std::uint64_t weights = 0;      // of the model and of adapters
  std::uint64_t gradients = 0;    // of what is trained, with partial sums of micro-batches
  std::uint64_t optimizer = 0;    // its state
  std::uint64_t activations = 0;  // of the largest micro-batch, its logits among them
  std::uint64_t scratch = 0;      // of the threads
  std::uint64_t teacher = 0;      // its weights, activations and scratch, if there is one
  std::uint64_t total() const {
    return weights + gradients + optimizer + activations + scratch + teacher;
  }
};

struct MemoryQuestion {
  ModelConfig config;  // with the labels that it will have
  TrainerOptions options;
  std::size_t batch_size = 1;
  int threads = 1;
  // The header of the model's file: with adapters, matrices stay in its formats. Null: all are f32.
  const GgufHeader* header = nullptr;
  bool may_adapt = true;  // false: the run cannot have adapters, so the advice leaves them out
};

// Returns the memory for batches of the longest of `examples`.
//   Errors: as add_lora, for targets that the model does not have.
Result<MemoryPlan> plan_memory(const MemoryQuestion& question,
                               const std::vector<Example>& examples);

// Says in one line how the memory is used: "2.2 GB: weights 0.5, ...".
std::string memory_text(const MemoryPlan& plan);

// Returns kResourceExhausted if the run needs more than `available` bytes. The message says for
// what, and which flags would make it fit, with the memory that the run would then need.
Status check_memory(const MemoryQuestion& question, const std::vector<Example>& examples,
                    std::uint64_t available);

}  // namespace troupe::model
