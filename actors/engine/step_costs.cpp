#include <algorithm>
#include <cmath>
#include <limits>

#include <troupe/actors/engine/step_costs.h>

namespace troupe::actors {
namespace {

// The part of a sample's weight that is left after each later sample.
constexpr double kKept = 0.99;
constexpr double kDamping = 1e-4;    // for features that vary only together
constexpr std::size_t kTrusted = 8;  // after this number of samples, outliers are cut
constexpr double kOutlier = 4;

// An answer's tokens may come at 1 / (1 + this) of their pace while a prompt is computed; the
// prompt then has more than half of the time.
constexpr double kPromptPart = 1.7;
constexpr double kPromptLeastUs = 10'000;
// If there are no answers, only the next request to come has to wait for a step that has begun.
constexpr double kPromptAloneUs = 60'000, kPromptAloneTimes = 4;

}  // namespace

void LinearCost::note(const Features& features, double us) {
  if (samples_ >= kTrusted) {
    const double expected = of(features);
    if (expected > 0) us = std::clamp(us, expected / kOutlier, expected * kOutlier);
  }
  for (std::size_t i = 0; i < kFeatures; ++i) {
    for (std::size_t j = 0; j < kFeatures; ++j) {
      products_[i][j] = kKept * products_[i][j] + features[i] / us * (features[j] / us);
    }
    sums_[i] = kKept * sums_[i] + features[i] / us;
  }
  ++samples_;
  solve();
}

double LinearCost::of(const Features& features) const {
  double us = 0;
  for (std::size_t i = 0; i < kFeatures; ++i) us += coefficients_[i] * features[i];
  return us;
}

// Solves a damped, and therefore definite, system by Gaussian elimination. A coefficient that would
// be negative is left out, and the system is solved again for the others.
void LinearCost::solve() {
  std::array<bool, kFeatures> used{};
  for (std::size_t i = 0; i < kFeatures; ++i) used[i] = products_[i][i] > 0;
  for (std::size_t tries = 0; tries < kFeatures; ++tries) {
    auto rows = products_;
    Features right = sums_;
    for (std::size_t i = 0; i < kFeatures; ++i) {
      rows[i][i] *= 1 + kDamping;
      for (std::size_t j = 0; j < kFeatures; ++j) {
        if (!used[i] || !used[j]) rows[i][j] = i == j ? 1 : 0;
      }
      if (!used[i]) right[i] = 0;
    }
    for (std::size_t i = 0; i < kFeatures; ++i) {
      for (std::size_t below = i + 1; below < kFeatures; ++below) {
        const double factor = rows[below][i] / rows[i][i];
        for (std::size_t j = i; j < kFeatures; ++j) rows[below][j] -= factor * rows[i][j];
        right[below] -= factor * right[i];
      }
    }
    for (std::size_t i = kFeatures; i-- > 0;) {
      for (std::size_t j = i + 1; j < kFeatures; ++j) right[i] -= rows[i][j] * right[j];
      right[i] /= rows[i][i];
    }
    const auto least = std::min_element(right.begin(), right.end());
    if (*least >= 0) {
      coefficients_ = right;
      return;
    }
    used[static_cast<std::size_t>(least - right.begin())] = false;
  }
}

double PromptRowCost::of(std::size_t position, std::size_t count) const {
  const double n = static_cast<double>(count), first = static_cast<double>(position);
  return n * (row + depth * (first + (n - 1) / 2));
}

std::size_t PromptRowCost::fitting(std::size_t position, double cost) const {
  std::size_t least = 0, most = 1;
  while (most < (std::size_t{1} << 30) && of(position, most) <= cost) most *= 2;
  while (most - least > 1) {
    const std::size_t middle = least + (most - least) / 2;
    (of(position, middle) <= cost ? least : most) = middle;
  }
  return least;
}

void StepCosts::note(const StepRows& rows, std::int64_t us) {
  if (us <= 0 || rows.answers + rows.prompts == 0) return;
  const auto number = [](std::size_t count) { return static_cast<double>(count); };
  double taken = static_cast<double>(us);
  const LinearCost::Features answers = {1, number(rows.answers), rows.answers_depth};
  if (rows.prompts == 0) return answers_.note(answers, taken);
  if (rows.answers > 0) {
    if (!answers_.is_known()) return;
    taken = std::max(taken - answers_.of(answers), taken / 8);
  }
  // If there are answers, the fixed cost of a step counts as theirs.
  prompts_.note({number(rows.prompts), rows.prompts_depth, rows.answers == 0 ? 1.0 : 0.0}, taken);
}

PromptRowCost StepCosts::of_prompt_row() const {
  return {prompts_.coefficients()[0], prompts_.coefficients()[1]};
}

double StepCosts::prompt_budget_us(std::size_t answers, double answers_depth) const {
  // The budget is much more than the fixed cost of a step; otherwise most of the time would go into
  // reading weights.
  if (answers == 0) return std::max(kPromptAloneUs, kPromptAloneTimes * prompts_.coefficients()[2]);
  const double alone_us = answers_.of({1, static_cast<double>(answers), answers_depth});
  return std::max(kPromptLeastUs, kPromptPart * alone_us);
}

}  // namespace troupe::actors
