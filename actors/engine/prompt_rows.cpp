#include <algorithm>

#include <troupe/actors/engine/prompt_rows.h>

namespace troupe::actors {
std::vector<std::size_t> share_prompt_rows(std::span<const PromptLeft> prompts, PromptBudget budget,
                                           const PromptRowCost& costs) {
  std::vector<std::size_t> rows(prompts.size(), 0);
  if (prompts.empty() || budget.rows == 0) return rows;
  const auto cost_of = [&](std::size_t i) {
    return costs.of(prompts[i].position, prompts[i].left);
  };
  budget.cost = std::max(budget.cost, costs.of(prompts[0].position, 1));
  // Gives prompt i the rows that it needs, as far as `from` still has them.
  const auto give = [&](std::size_t i, PromptBudget* from) {
    const std::size_t position = prompts[i].position + rows[i];
    const std::size_t more =
        std::min({prompts[i].left - rows[i], from->rows, costs.fitting(position, from->cost)});
    from->rows -= more;
    from->cost -= costs.of(position, more);
    rows[i] += more;
  };
  std::vector<std::size_t> order;
  for (std::size_t i = 1; i < prompts.size(); ++i) {
    if (cost_of(i) <= cost_of(0) / 4) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return cost_of(a) < cost_of(b); });
  PromptBudget for_short = {budget.rows / 2, budget.cost / 2};
  const PromptBudget before = for_short;
  for (const std::size_t i : order) give(i, &for_short);
  budget.rows -= before.rows - for_short.rows;
  budget.cost -= before.cost - for_short.cost;
  // The first prompt goes on in any case.
  budget.cost = std::max(budget.cost, costs.of(prompts[0].position, 1));
  for (std::size_t i = 0; i < prompts.size(); ++i) give(i, &budget);
  return rows;
}

}  // namespace troupe::actors
