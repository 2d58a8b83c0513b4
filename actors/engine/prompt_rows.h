#pragma once

#include <cstddef>
#include <span>
#include <vector>

// Which prompts get the rows of a step. Pure; called by EngineState.

namespace troupe::actors {

// Shares `budget` rows among prompts that have so many left, the oldest first. The oldest goes on
// with all of them, so that it is answered soon, but for up to half of them that short prompts
// behind it get: those with at most a quarter of what it has left, the shortest first. What is left
// goes to the others in the order of age. Returns the rows of each; their sum is `budget` unless
// all get what they have left.
std::vector<std::size_t> share_prompt_rows(std::span<const std::size_t> left, std::size_t budget);

}  // namespace troupe::actors
