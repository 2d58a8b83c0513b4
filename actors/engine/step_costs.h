#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// What the rows of a step cost a deployment, as its steps show it, and how much time prompts may
// take of a step. A row costs more the deeper it lies, because attention reads every position
// before it. Costs decide when a row is computed, and never what comes out. Pure: measured times
// come as arguments. Called by EngineState.

namespace troupe::actors {

// The rows of a step: of answers, one each; and of prompts. A depth is a sum of positions.
struct StepRows {
  std::size_t answers = 0, prompts = 0;
  double answers_depth = 0, prompts_depth = 0;
};

// A cost that is a sum of up to three features, each times a coefficient that is not negative: the
// least squares of relative errors, in which older samples count less and less.
class LinearCost {
 public:
  static constexpr std::size_t kFeatures = 3;
  using Features = std::array<double, kFeatures>;

  // `us` above 0.
  void note(const Features& features, double us);
  // 0 if nothing was noted.
  double of(const Features& features) const;
  bool is_known() const { return samples_ > 0; }
  const Features& coefficients() const { return coefficients_; }

 private:
  void solve();
  std::array<Features, kFeatures> products_{};
  Features sums_{}, coefficients_{};
  std::size_t samples_ = 0;
};

// What a row of a prompt at a position costs: row + depth * position, in any unit.
struct PromptRowCost {
  double row = 1, depth = 0;
  double of(std::size_t position, std::size_t count) const;
  // How many rows from `position` on may be computed at this cost.
  std::size_t fitting(std::size_t position, double cost) const;
};

class StepCosts {
 public:
  // A step of these rows took `us` of the whole path, or of the part of it that was not shared with
  // the step before it.
  void note(const StepRows& rows, std::int64_t us);
  bool is_known() const { return prompts_.is_known(); }
  // In us. To be asked only if is_known().
  PromptRowCost of_prompt_row() const;
  // How long the rows of prompts of a step may take beside its rows of answers: so long that a
  // prompt is not held up much, and so short that nobody who reads sees an answer stand still.
  double prompt_budget_us(std::size_t answers, double answers_depth) const;

 private:
  LinearCost answers_, prompts_;
};

}  // namespace troupe::actors
