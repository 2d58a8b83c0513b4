#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/model/config/model_config.h>
#include <troupe/model/training/example.h>
#include <troupe/model/training/sum_plan.h>

// Examples whose rows lie together without padding, and the parts of the batch's sums that they
// compute. The positions of each example begin at 0; attention goes by example. Pure.

namespace troupe::model {

struct ExampleRows {
  const Example* example = nullptr;
  std::size_t first_row = 0, count = 0;  // in the micro-batch
};

// The sums of one global batch.
struct BatchPlan {
  BatchPlan(std::span<const Example> batch, const ModelConfig& config);
  SumPlan rows;        // over all positions
  SumPlan first_rows;  // over the first position of each example
  // Over the positions with a target, or over the first positions for a classifier of texts.
  SumPlan supervised;
  std::size_t targets = 0;  // the number of supervised positions
};

struct MicroBatch {
  MicroBatch(std::span<const Example> batch, std::size_t begin, std::size_t end,
             const ModelConfig& config, const BatchPlan& plan);

  std::vector<ExampleRows> examples;
  std::size_t rows = 0;     // T
  std::size_t longest = 0;  // of the examples
  SumPart all, first, supervised;
  std::vector<std::size_t> positions;    // (T): in the example
  std::vector<std::size_t> example_of;   // (T): index in `examples`
  std::vector<std::size_t> target_rows;  // rows with a target, or the first rows
  std::vector<std::size_t> targets;      // of these rows: token ids or labels
  std::vector<float> values;             // of these rows: Example::value
  std::vector<float> weights;            // of these rows: Example::weight
};

}  // namespace troupe::model
