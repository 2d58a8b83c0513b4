#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include <troupe/model/sampling/weights.h>
#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/kernels/table.h>

namespace troupe::model::sampling {
namespace {

constexpr std::size_t kLanes = 16;

// Returns the table of the widest target, which is the fastest. Every target computes the same
// bits.
const kernels::Kernels& exp_table() {
  static const kernels::Kernels& table = [&]() -> const kernels::Kernels& {
    const Result<kernels::Isa> isa = kernels::choose_isa();
    return kernels::table(isa.is_ok() ? *isa : kernels::Isa::kScalar);
  }();
  return table;
}

double chunk_sum(std::span<const float> weights) {
  std::array<double, kLanes> partial{};
  const std::size_t whole = weights.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) partial[lane] += weights[i + lane];
  }
  for (std::size_t i = whole; i < weights.size(); ++i) partial[i - whole] += weights[i];
  for (std::size_t apart = kLanes / 2; apart > 0; apart /= 2) {
    for (std::size_t lane = 0; lane < apart; ++lane) partial[lane] += partial[lane + apart];
  }
  return partial[0];
}

}  // namespace

// Finds the largest logit. The order of the comparisons does not change a maximum, so lanes may
// share the work.
Peak peak_of(std::span<const float> logits) {
  std::array<float, kLanes> best;
  best.fill(-std::numeric_limits<float>::infinity());
  std::array<int, kLanes> nan{};
  const std::size_t whole = logits.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float x = logits[i + lane];
      best[lane] = x > best[lane] ? x : best[lane];
      nan[lane] |= x != x;
    }
  }
  Peak peak;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    peak.value = std::max(peak.value, best[lane]);
    peak.any_nan |= nan[lane] != 0;
  }
  for (std::size_t i = whole; i < logits.size(); ++i) {
    peak.any_nan |= logits[i] != logits[i];
    if (logits[i] > peak.value) peak.value = logits[i];
  }
  return peak;
}

Weights weights_of(std::span<const float> logits, float peak, float temperature) {
  Weights out;
  out.weights.resize(logits.size());
  std::array<float, kChunk> scaled;
  for (std::size_t begin = 0; begin < logits.size(); begin += kChunk) {
    const std::size_t count = std::min(kChunk, logits.size() - begin);
    for (std::size_t i = 0; i < count; ++i) scaled[i] = (logits[begin + i] - peak) / temperature;
    float* weights = out.weights.data() + begin;
    exp_table().exp(scaled.data(), weights, count);
    for (std::size_t i = 0; i < count; ++i) weights[i] = scaled[i] < kFloor ? 0.0f : weights[i];
    out.chunk_sums.push_back(chunk_sum({weights, count}));
    out.sum += out.chunk_sums.back();
  }
  return out;
}

std::uint32_t key_of(float logit) {
  const auto bits = std::bit_cast<std::uint32_t>(logit + 0.0f);
  return (bits >> 31) != 0 ? bits : ~bits & 0x7fffffffu;
}

// Sorts by radix passes, which are stable, and many times faster than comparisons if a flat
// distribution keeps most of a large vocabulary.
void sort_candidates(std::vector<Candidate>* candidates) {
  constexpr std::size_t kFew = 512;
  if (candidates->size() < kFew) {
    std::stable_sort(candidates->begin(), candidates->end(),
                     [](const Candidate& a, const Candidate& b) { return a.key < b.key; });
    return;
  }
  constexpr unsigned kBits = 11;
  constexpr std::uint32_t kMask = (1u << kBits) - 1;
  std::vector<Candidate> sorted(candidates->size());
  for (unsigned shift = 0; shift < 32; shift += kBits) {
    std::array<std::size_t, kMask + 2> begins{};
    for (const Candidate& one : *candidates) ++begins[(one.key >> shift & kMask) + 1];
    for (std::size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
    for (const Candidate& one : *candidates) sorted[begins[one.key >> shift & kMask]++] = one;
    candidates->swap(sorted);
  }
}

}  // namespace troupe::model::sampling
