#include <algorithm>
#include <numeric>
#include <string>

#include <troupe/model/sampling/filters.h>
#include <troupe/runtime/numerics/elementary.h>

namespace troupe::model::sampling {
namespace {

// A token that can still be drawn.
struct Left {
  Candidate candidate;
  double weight = 0;
};

double sum_of(const std::vector<Left>& left) {
  double sum = 0;
  for (const Left& one : left) sum += one.weight;
  return sum;
}

// Returns the k likeliest tokens (all that can be drawn if k is 0), in the total order.
std::vector<Left> top_k(std::span<const float> logits, const Weights& weights, std::size_t k) {
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (weights.weights[i] > 0) {
      candidates.push_back({key_of(logits[i]), static_cast<TokenId>(i)});
    }
  }
  if (k > 0 && k < candidates.size()) {
    const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(k);
    std::nth_element(candidates.begin(), end, candidates.end(),
                     [](const Candidate& a, const Candidate& b) {
                       return a.key != b.key ? a.key < b.key : a.id < b.id;
                     });
    candidates.erase(end, candidates.end());
    std::sort(candidates.begin(), candidates.end(),
              [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  }
  sort_candidates(&candidates);
  std::vector<Left> left;
  left.reserve(candidates.size());
  for (const Candidate& one : candidates) {
    left.push_back({one, weights.weights[static_cast<std::size_t>(one.id)]});
  }
  return left;
}

void keep_typical(std::span<const float> logits, float peak, const SamplingParams& params,
                  std::vector<Left>* left) {
  const double sum = sum_of(*left);
  const double log_sum = log_bits(static_cast<float>(sum));
  std::vector<double> surprise(left->size());
  double mean = 0;
  for (std::size_t i = 0; i < left->size(); ++i) {
    const Left& one = (*left)[i];
    const float z =
        (logits[static_cast<std::size_t>(one.candidate.id)] - peak) / params.temperature;
    surprise[i] = log_sum - z;
    mean += one.weight / sum * surprise[i];
  }
  std::vector<std::size_t> order(left->size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (double& one : surprise) one = one > mean ? one - mean : mean - one;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return surprise[a] < surprise[b]; });
  const double enough = static_cast<double>(params.typical) * sum;
  std::size_t kept = 0;
  for (double running = 0; kept < order.size() && running < enough; ++kept) {
    running += (*left)[order[kept]].weight;
  }
  order.resize(kept);
  std::sort(order.begin(), order.end());  // back to the total order
  std::vector<Left> out;
  for (const std::size_t i : order) out.push_back((*left)[i]);
  *left = std::move(out);
}

}  // namespace

Status apply_penalties(const SamplingParams& params, std::span<const TokenId> log,
                       std::size_t prompt_tokens, std::span<float> logits) {
  if (!params.has_penalties()) return Status::ok();
  std::vector<bool> occurs(logits.size());           // in the prompt or the answer
  std::vector<std::uint32_t> counts(logits.size());  // in the answer
  for (std::size_t i = 0; i < log.size(); ++i) {
    const TokenId id = log[i];
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) {
      return Status(Code::kBadData,
                    "token " + std::to_string(id) +
                        " of the prompt or the answer is not in the vocabulary of " +
                        std::to_string(logits.size()) + " tokens");
    }
    occurs[static_cast<std::size_t>(id)] = true;
    counts[static_cast<std::size_t>(id)] += i >= prompt_tokens ? 1 : 0;
  }
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!occurs[i]) continue;
    float& logit = logits[i];
    logit = logit > 0.0f ? logit / params.repeat_penalty : logit * params.repeat_penalty;
    if (counts[i] == 0) continue;
    const float often = params.frequency_penalty * static_cast<float>(counts[i]);
    logit -= often + params.presence_penalty;
  }
  return Status::ok();
}

Status apply_bias(const SamplingParams& params, std::span<float> logits) {
  for (const LogitBias& one : params.logit_bias) {
    if (static_cast<std::size_t>(one.id) >= logits.size()) {
      return Status(Code::kInvalidArgument, "logit_bias names token " + std::to_string(one.id) +
                                                ", outside the vocabulary of " +
                                                std::to_string(logits.size()) + " tokens");
    }
    logits[static_cast<std::size_t>(one.id)] += one.bias;
  }
  return Status::ok();
}

TokenId draw_filtered(std::span<const float> logits, const Weights& weights, float peak,
                      const SamplingParams& params, double u) {
  std::vector<Left> left = top_k(logits, weights, params.top_k);
  if (params.typical < 1.0f) keep_typical(logits, peak, params, &left);
  if (params.top_p < 1.0f) {
    const double enough = static_cast<double>(params.top_p) * sum_of(left);
    std::size_t kept = 0;
    for (double running = 0; kept < left.size() && running < enough; ++kept) {
      running += left[kept].weight;
    }
    left.resize(kept);
  }
  if (params.min_p > 0.0f) {
    const double least = static_cast<double>(params.min_p) * left.front().weight;
    std::erase_if(left, [&](const Left& one) { return one.weight < least; });
  }
  const double target = u * sum_of(left);
  double running = 0;
  for (const Left& one : left) {
    running += one.weight;
    if (running > target) return one.candidate.id;
  }
  return left.back().candidate.id;
}

}  // namespace troupe::model::sampling
