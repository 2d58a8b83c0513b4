#pragma once

#include <cstddef>
#include <cstdint>

// What a model's layers cost on one machine, as plain values. A node measures them
// (local/measure_layers.h); the coordinator plans with them (placement.h).

namespace troupe::model {

// The number of rows in the step of several streams that is measured beside a step of one row.
constexpr std::size_t kCostRows = 4;
// The number of positions in the prompt that a measurement reads.
constexpr std::size_t kCostPrompt = 512;

// The cost of a step through `layers` layers. It depends on the number of layers, because caches
// retain part of the weights between steps.
struct StepCost {
  std::uint32_t layers = 0;
  double row_us = 0;        // a layer's time in a step of one row
  double rows_us = 0;       // a layer's time in a step of one row for each of kCostRows sequences
  double head_row_us = 0;   // what the logits add to a step of one row
  double head_rows_us = 0;  // what the logits add to a step of kCostRows rows
  template <class A>
  void serialize(A& a) {
    a(layers, row_us, rows_us, head_row_us, head_rows_us);
  }
};

// The times are those of threads that run without interruption. `share` is the part of the time
// that the quota of a control group lets all of them run.
struct LayerCost {
  StepCost many, few;        // `few` has 0 layers if only `many` was measured
  double prompt_row_us = 0;  // a layer's time for each row of a prompt of kCostPrompt positions
  double weight_bytes_per_s = 0;             // weights that a step of one row reads
  double products_per_s = 0;                 // multiplications by weights that a prompt's rows do
  double share = 1;                          // more than 0, at most 1
  std::uint32_t threads = 1, host_cpus = 1;  // the device's threads, and its machine's CPUs
  bool known() const { return many.row_us > 0; }
  // Returns the cost of a stage of this many layers, by interpolation between `few` and `many`.
  StepCost of(std::size_t layers) const;
  template <class A>
  void serialize(A& a) {
    a(many, few, prompt_row_us, weight_bytes_per_s, products_per_s, share, threads, host_cpus);
  }
};

}  // namespace troupe::model
