#include <algorithm>
#include <limits>
#include <numeric>

#include <troupe/model/transformer/expert_plan.h>
#include <troupe/runtime/numerics/elementary.h>

namespace troupe::model {

void ExpertPlan::reserve(const ModelConfig& config, std::size_t rows) {
  by_row_.reserve(rows * config.experts_used);
  shares.reserve(rows * config.experts_used);
  of_row.reserve(rows * config.experts_used);
  first.reserve(config.experts + 1);
  next_.reserve(config.experts);
  active.reserve(config.experts);
}

// Chooses the experts of one row: `chosen` becomes its shares, by expert.
void ExpertPlan::choose_row(const ModelConfig& config, const float* logits, std::size_t row,
                            Share* chosen) {
  const std::size_t used = config.experts_used;
  std::vector<std::size_t>& order = next_;
  order.resize(config.experts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto kept = order.begin() + static_cast<std::ptrdiff_t>(used);
  // A NaN counts as the smallest number, so that there is an order.
  const auto value = [&](std::size_t e) {
    return logits[e] == logits[e] ? logits[e] : -std::numeric_limits<float>::infinity();
  };
  std::partial_sort(order.begin(), kept, order.end(), [&](std::size_t a, std::size_t b) {
    return value(a) != value(b) ? value(a) > value(b) : a < b;
  });
  const float largest = logits[order[0]];
  std::sort(order.begin(), kept);
  float sum = 0.0f;
  for (std::size_t i = 0; i < used; ++i) {
    chosen[i] = {order[i], row, exp_bits(logits[order[i]] - largest)};
    sum += chosen[i].weight;
  }
  if (!config.expert_weights_norm) {
    sum = 0.0f;
    for (std::size_t e = 0; e < config.experts; ++e) sum += exp_bits(logits[e] - largest);
  }
  for (std::size_t i = 0; i < used; ++i) chosen[i].weight /= sum;
}

void ExpertPlan::choose(const ModelConfig& config, const float* logits, std::size_t rows) {
  const std::size_t used = config.experts_used;
  by_row_.resize(rows * used);
  shares.resize(rows * used);
  of_row.resize(rows * used);
  first.assign(config.experts + 1, 0);
  for (std::size_t row = 0; row < rows; ++row) {
    choose_row(config, logits + row * config.experts, row, by_row_.data() + row * used);
    for (std::size_t i = 0; i < used; ++i) ++first[by_row_[row * used + i].expert + 1];
  }
  active.clear();
  for (std::size_t e = 0; e < config.experts; ++e) {
    if (first[e + 1] != 0) active.push_back(e);
    first[e + 1] += first[e];
  }
  next_.assign(first.begin(), first.end() - 1);
  for (std::size_t i = 0; i < by_row_.size(); ++i) {
    of_row[i] = next_[by_row_[i].expert]++;
    shares[of_row[i]] = by_row_[i];
  }
}

}  // namespace troupe::model
