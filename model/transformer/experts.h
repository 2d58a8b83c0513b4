#pragma once

#include <cstddef>

#include <troupe/model/transformer/expert_plan.h>
#include <troupe/model/transformer/step_context.h>

// A mixture of experts: the feed-forward network of a layer is many small ones, of which each row
// goes through a few. An expert sees its rows in the order of the step, and the outputs of a row's
// experts are added in the order of the experts, so that a row's bits do not depend on the other
// rows. The layers' threads call these functions (block.cpp), each with its own part of the work.

namespace troupe::model {

// The part of the work that one thread does.
struct TeamPart {
  int part = 0, parts = 1;
  int thread = 0;  // the device's number for the thread, whose memory is used
};

// Computes the shares' inner rows: g = silu(Wg n) * (Wu n) for this thread's part of every active
// expert's channels. Row 0 of the plan is the first row of `normed`.
void widen_experts(const StepContext& step, std::size_t layer, const ExpertPlan& plan,
                   const RowBuffer& normed, const Workspace& workspace, TeamPart part);

// Computes the shares' outer rows: Wd g for this thread's part of every active expert's channels.
// All inner rows must be there.
void narrow_experts(const StepContext& step, std::size_t layer, const ExpertPlan& plan,
                    const Workspace& workspace, TeamPart part);

// output = the sum of a row's weighted outer rows, and of the shared expert if there is one, for
// the rows [begin, end) of the workspace.
void add_experts(const StepContext& step, const ExpertPlan& plan, const Workspace& workspace,
                 std::size_t begin, std::size_t end);

}  // namespace troupe::model
