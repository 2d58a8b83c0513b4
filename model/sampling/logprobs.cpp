#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>

#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/weights.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/status.h>

namespace troupe::model {

using namespace sampling;

float log_probability(std::span<const float> logits, TokenId id) {
  TROUPE_CHECK(id >= 0 && static_cast<std::size_t>(id) < logits.size(), std::to_string(id));
  const Peak peak = peak_of(logits);
  if (peak.any_nan) return std::numeric_limits<float>::quiet_NaN();
  const Weights weights = weights_of(logits, peak.value, 1.0f);
  return logits[static_cast<std::size_t>(id)] - peak.value -
         log_bits(static_cast<float>(weights.sum));
}

std::vector<TokenLogprob> log_probabilities(std::span<const float> logits, TokenId id,
                                            std::size_t count) {
  TROUPE_CHECK(id >= 0 && static_cast<std::size_t>(id) < logits.size(), std::to_string(id));
  const Peak peak = peak_of(logits);
  const Weights weights = weights_of(logits, peak.value, 1.0f);
  const float log_sum = log_bits(static_cast<float>(weights.sum));
  std::vector<Candidate> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = {key_of(logits[i]), static_cast<TokenId>(i)};
  }
  count = std::min(count, order.size());
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(order.begin(), end, order.end(), [](const Candidate& a, const Candidate& b) {
    return a.key != b.key ? a.key < b.key : a.id < b.id;
  });
  const auto entry = [&](TokenId token) {
    return TokenLogprob{token, logits[static_cast<std::size_t>(token)] - peak.value - log_sum};
  };
  std::vector<TokenLogprob> out = {entry(id)};
  for (auto one = order.begin(); one != end; ++one) out.push_back(entry(one->id));
  return out;
}

}  // namespace troupe::model
