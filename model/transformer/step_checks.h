#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/config/model_config.h>
#include <troupe/model/transformer/kv_cache.h>
#include <troupe/model/transformer/step_input.h>

// The work that every kind of stage does on the input of a step before it computes: it checks the
// values, takes the pages, and finds the rows whose logits are wanted.

namespace troupe::model {

// A Segment of the step's input once it is checked: its pages, and where its rows lie in the step.
struct SegmentRows {
  PagedKvSequence* sequence = nullptr;
  std::size_t position = 0, count = 0;
  std::size_t first_row = 0;  // in the step
};

// Checks everything about the given values, and returns the number of rows.
//   Errors: kInvalidArgument naming the value.
Result<std::size_t> check_rows(const StepInput& input, const ModelConfig& config, LayerRange range);

// Fills `segments` and takes the pages for every sequence. If that fails for one, it takes none.
//   Errors: kInvalidArgument if a sequence does not fit its segment, or is not of `pool`;
//   kFailedPrecondition if a sequence of numbered blocks was given too few; kResourceExhausted if
//   memory is short.
Status reserve_pages(const StepInput& input, const KvPool& pool,
                     std::vector<SegmentRows>* segments);

// The rows of a step whose logits are computed, each in the order of the step: those whose logits
// the caller gets, and those of which it gets the best id. For an encoder with a head, they are the
// first rows of the sequences.
struct LogitPlan {
  std::vector<std::size_t> rows, best;
  std::size_t count() const { return rows.size() + best.size(); }
};
void plan_logits(const StepInput& input, const ModelConfig& config, LayerRange range,
                 LogitPlan* plan);

}  // namespace troupe::model
