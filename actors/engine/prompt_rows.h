#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/actors/engine/step_costs.h>

// Which prompts get the rows of a step. Pure; called by EngineState.

namespace troupe::actors {

// A prompt that needs `left` more rows, the first of them at `position`.
struct PromptLeft {
  std::size_t left = 0, position = 0;
};
// How much of a step prompts may take. One row is allowed even if it costs more.
struct PromptBudget {
  std::size_t rows = 0;
  double cost = 0;
};

// Shares a budget among prompts, which are given in the order of their turns. Short prompts, which
// cost at most a quarter of what the first one needs, get up to half of the budget, the shortest
// first. The rest goes to the prompts in their order, so that the first is answered soon. Returns
// the rows of each.
std::vector<std::size_t> share_prompt_rows(std::span<const PromptLeft> prompts, PromptBudget budget,
                                           const PromptRowCost& costs);

}  // namespace troupe::actors
