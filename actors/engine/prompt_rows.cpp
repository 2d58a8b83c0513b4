#include <algorithm>

#include <troupe/actors/engine/prompt_rows.h>

namespace troupe::actors {

std::vector<std::size_t> share_prompt_rows(std::span<const std::size_t> left, std::size_t budget) {
  std::vector<std::size_t> rows(left.size(), 0);
  if (left.empty()) return rows;
  std::vector<std::size_t> order;
  for (std::size_t i = 1; i < left.size(); ++i) {
    if (left[i] <= left[0] / 4) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return left[a] < left[b]; });
  std::size_t for_short = budget / 2;
  for (const std::size_t i : order) {
    rows[i] = std::min(left[i], for_short);
    for_short -= rows[i];
    budget -= rows[i];
  }
  for (std::size_t i = 0; i < left.size(); ++i) {
    const std::size_t more = std::min(left[i] - rows[i], budget);
    rows[i] += more;
    budget -= more;
  }
  return rows;
}

}  // namespace troupe::actors
