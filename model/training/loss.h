#pragma once

#include <cstdint>
#include <vector>

// Which loss the head computes for each row that has a target. Plain values.

namespace troupe::model {

enum class LossKind : std::uint8_t {
  kCrossEntropy,  // -log p(target)
  kSquares,       // (output - Example::value)^2 of a head with one output
  // None: the caller has a loss of the means of each example's last rows (Network::pooled).
  kPooled,
};

// Cross-entropy of a row with the target y and C classes of weights w (1 if there are none):
//   (1 - s) w_y (-log p_y)  +  s / C  sum over c of w_c (-log p_c),   s = label_smoothing
// and the loss of a batch is the sum over its rows divided by the sum of their w_y, as PyTorch's
// CrossEntropyLoss has it. Source: Szegedy et al. 2016, section 7.
struct LossOptions {
  LossKind kind = LossKind::kCrossEntropy;
  float label_smoothing = 0.0f;      // in [0, 1)
  std::vector<float> class_weights;  // one for each output, above 0; empty: all are 1
};

}  // namespace troupe::model
