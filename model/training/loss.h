#pragma once

#include <cstdint>
#include <vector>

// Which loss the head computes for each row that has a target. Plain values.

namespace troupe::model {

enum class LossKind : std::uint8_t {
  kCrossEntropy,  // -log p(target)
  kSquares,       // (output - Example::value)^2 of a head with one output
  // No loss is computed here: the caller has a loss of the means of each example's last rows
  // (Network::pooled).
  kPooled,
};

// Cross-entropy of a row with the target y and C classes of weights w (1 if there are none):
//   (1 - s) w_y (-log p_y)  +  s / C  sum over c of w_c (-log p_c),   s = label_smoothing
// and the loss of a batch is the sum over its rows divided by the sum of their w_y, as PyTorch's
// CrossEntropyLoss has it. Source: Szegedy et al. 2016, section 7.
//
// With a teacher (Network::set_teacher) the loss of a row is
//   (1 - r) of that  +  r T^2 KL(softmax(z / T) || softmax(x / T)),
// where z are the teacher's logits of the row, x the model's, r = teacher_ratio and T =
// teacher_temperature. Source: Hinton, Vinyals & Dean 2015, section 2.
struct LossOptions {
  LossKind kind = LossKind::kCrossEntropy;
  float label_smoothing = 0.0f;      // in [0, 1)
  std::vector<float> class_weights;  // one for each output, above 0; empty: all are 1
  float teacher_ratio = 0.5f;        // in (0, 1]
  float teacher_temperature = 2.0f;  // above 0
};

}  // namespace troupe::model
