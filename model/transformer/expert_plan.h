#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/config/model_config.h>

// Decides which experts of a mixture each row goes through. Pure.

namespace troupe::model {

// Which rows go through which experts, and how much each counts. Rows are counted from the
// workspace's first row.
struct ExpertPlan {
  struct Share {
    std::size_t expert = 0, row = 0;
    float weight = 0.0f;
  };
  std::vector<Share> shares;        // by expert, then by row: (rows * experts_used)
  std::vector<std::size_t> first;   // (experts + 1): the first share of each expert
  std::vector<std::size_t> of_row;  // (rows, experts_used): a row's shares, by expert
  std::vector<std::size_t> active;  // the experts that have rows, ascending
  std::size_t rows_of(std::size_t expert) const { return first[expert + 1] - first[expert]; }

  // Takes the memory for `rows` rows.
  void reserve(const ModelConfig& config, std::size_t rows);
  // Chooses the experts of `rows` rows by their router's logits, (rows, experts). Ties go to the
  // lower expert.
  void choose(const ModelConfig& config, const float* logits, std::size_t rows);

 private:
  void choose_row(const ModelConfig& config, const float* logits, std::size_t row, Share* chosen);
  std::vector<Share> by_row_;      // (rows, experts_used)
  std::vector<std::size_t> next_;  // (experts)
};

}  // namespace troupe::model
