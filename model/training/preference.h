#pragma once

#include <cstddef>
#include <span>
#include <vector>

// The loss of direct preference optimization: pairs of answers to one prompt, of which one is
// chosen. The examples of a batch are chosen, rejected, chosen, rejected, ... Pure. Source:
// Rafailov et al. 2023, equation 7.

namespace troupe::model {

struct PreferenceLoss {
  double loss = 0.0;     // the sum over the pairs of -log sigmoid(margin)
  std::size_t hits = 0;  // pairs whose margin is positive
  // For each example, the factor of the gradient of its cross-entropy.
  std::vector<float> weights;
};

// margin = beta ((log p(chosen) - log q(chosen)) - (log p(rejected) - log q(rejected))), where p is
// the model and q the reference.
//   policy, reference  for each example -log p and -log q of its trained tokens, two a pair
PreferenceLoss preference_loss(std::span<const double> policy, std::span<const double> reference,
                               double beta);

}  // namespace troupe::model
