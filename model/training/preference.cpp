#include <algorithm>
#include <cmath>
#include <string>

#include <troupe/model/training/preference.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/status.h>

namespace troupe::model {

PreferenceLoss preference_loss(std::span<const double> policy, std::span<const double> reference,
                               double beta) {
  TROUPE_CHECK(policy.size() == reference.size() && policy.size() % 2 == 0,
               std::to_string(policy.size()));
  PreferenceLoss out;
  for (std::size_t i = 0; i < policy.size(); i += 2) {
    const double margin = beta * ((reference[i] - policy[i]) - (reference[i + 1] - policy[i + 1]));
    // log(1 + exp(-margin)) = max(-margin, 0) + log(1 + exp(-|margin|))
    const auto distance = static_cast<float>(std::abs(margin));
    const float tail = exp_bits(-distance);
    out.loss += std::max(-margin, 0.0) + static_cast<double>(log_bits(1.0f + tail));
    const float slope = margin < 0.0 ? 1.0f / (1.0f + tail) : tail / (1.0f + tail);
    const float weight = static_cast<float>(beta) * slope;
    out.weights.push_back(weight);
    out.weights.push_back(-weight);
    out.hits += margin > 0.0 ? 1 : 0;
  }
  return out;
}

}  // namespace troupe::model
