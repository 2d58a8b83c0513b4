#pragma once

#include <cstddef>
#include <span>
#include <vector>

// Which prompts get the rows of a step. Pure; called by EngineState.

namespace troupe::actors {

// Shares `budget` rows among prompts, which are given by the number of rows that each still needs,
// the oldest first. Short prompts, with at most a quarter of what the oldest one needs, get up to
// half of the rows, the shortest first. The other rows go to the prompts in the order of age, so
// that the oldest is answered soon. Returns the rows of each; their sum is `budget`, or less if all
// get what they need.
std::vector<std::size_t> share_prompt_rows(std::span<const std::size_t> left, std::size_t budget);

}  // namespace troupe::actors
