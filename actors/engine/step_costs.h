#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// What the rows of a step cost a deployment, learnt from its steps, and how much of a step's time
// prompts may take. A row costs more the deeper it lies, because attention reads every position
// before it. Costs decide when a row is computed, and never what comes out. Pure: measured times
// come as arguments. Called by EngineState.

namespace troupe::actors {

// The rows of a step: those of answers, one for each, and those of prompts. A depth is a sum of
// positions.
struct StepRows {
  std::size_t answers = 0, prompts = 0;
  double answers_depth = 0, prompts_depth = 0;
};

// A cost as a sum of up to three features, each multiplied by a coefficient that is not negative.
// The coefficients are fitted by least squares of relative errors, in which older samples count
// less and less.
class LinearCost {
 public:
  static constexpr std::size_t kFeatures = 3;
  using Features = std::array<double, kFeatures>;

  // `us` above 0.
  void note(const Features& features, double us);
  // Returns the cost; 0 if nothing was noted.
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
  // Returns the number of rows from `position` on that may be computed at this cost.
  std::size_t fitting(std::size_t position, double cost) const;
};

class StepCosts {
 public:
  // Records that a step of these rows took `us` on the whole path, or on the part of it that it did
  // not share with the step before.
  void note(const StepRows& rows, std::int64_t us);
  bool is_known() const { return prompts_.is_known(); }
  // Returns the cost in us. May be called only if is_known().
  PromptRowCost of_prompt_row() const;
  // Returns how long the prompts' rows of a step may take beside the answers' rows: long enough
  // that a prompt is not held up much, and short enough that no reader sees an answer stand still.
  double prompt_budget_us(std::size_t answers, double answers_depth) const;

 private:
  LinearCost answers_, prompts_;
};

}  // namespace troupe::actors
