#include <algorithm>
#include <array>
#include <queue>
#include <tuple>

#include <troupe/model/tokenizer/bpe.h>

namespace troupe::model {
namespace {

// Up to this number of symbols, searching all pairs again after each join is faster than a heap.
constexpr std::size_t kScanMax = 32;

std::size_t merge_by_scan(const MergeTable& merges, std::span<std::int32_t> symbols) {
  std::array<MergeTable::Merge, kScanMax> pairs;  // pairs[i]: symbols i and i + 1
  std::size_t count = symbols.size();
  for (std::size_t i = 0; i + 1 < count; ++i) pairs[i] = merges.find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == MergeTable::kNone) break;
    symbols[best] = pairs[best].joined;
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i - 1] = pairs[i];
    }
    --count;
    // pairs[best] was the joined pair; the shift has moved its right neighbour there.
    if (best > 0) pairs[best - 1] = merges.find(symbols[best - 1], symbols[best]);
    if (best + 1 < count) pairs[best] = merges.find(symbols[best], symbols[best + 1]);
  }
  return count;
}

struct Candidate {
  std::uint32_t rank;
  std::uint32_t left;  // index of the left symbol
  std::int32_t left_id, right_id;
  std::int32_t joined;
  bool operator>(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

std::size_t merge_by_heap(const MergeTable& merges, std::span<std::int32_t> symbols) {
  constexpr std::int32_t kGone = -1;
  constexpr std::uint32_t kEnd = 0xffffffff;
  const auto count = static_cast<std::uint32_t>(symbols.size());
  std::vector<std::uint32_t> next(count), previous(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kEnd;
    previous[i] = i > 0 ? i - 1 : kEnd;
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::uint32_t left, std::uint32_t right) {
    const MergeTable::Merge merge = merges.find(symbols[left], symbols[right]);
    if (merge.rank != MergeTable::kNone) {
      queue.push({merge.rank, left, symbols[left], symbols[right], merge.joined});
    }
  };
  for (std::uint32_t i = 0; i + 1 < count; ++i) offer(i, i + 1);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const std::uint32_t right = next[best.left];
    // A candidate is stale if either of its symbols has been joined since.
    if (symbols[best.left] != best.left_id || right == kEnd || symbols[right] != best.right_id) {
      continue;
    }
    symbols[best.left] = best.joined;
    symbols[right] = kGone;
    next[best.left] = next[right];
    if (next[right] != kEnd) previous[next[right]] = best.left;
    if (previous[best.left] != kEnd) offer(previous[best.left], best.left);
    if (next[best.left] != kEnd) offer(best.left, next[best.left]);
  }
  const auto end = std::remove(symbols.begin(), symbols.end(), kGone);
  return static_cast<std::size_t>(end - symbols.begin());
}

}  // namespace

MergeTable::MergeTable(std::size_t count) {
  std::size_t slots = 16;
  while (slots < count * 2) slots *= 2;
  slots_.resize(slots);
}

std::size_t MergeTable::place(std::uint64_t pair) const {
  // Fibonacci hashing; the upper half of the product depends on every bit of the pair.
  std::size_t at = static_cast<std::size_t>((pair * 0x9e3779b97f4a7c15ull) >> 32);
  at &= slots_.size() - 1;
  while (slots_[at].pair != kEmpty && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
  return at;
}

void MergeTable::put(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t pair =
      (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
  Slot& slot = slots_[place(pair)];
  if (slot.pair == kEmpty) slot = {pair, merge};
}

MergeTable::Merge MergeTable::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair =
      (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
  return slots_[place(pair)].merge;
}

std::size_t merge_symbols(const MergeTable& merges, std::span<std::int32_t> symbols) {
  if (symbols.size() < 2) return symbols.size();
  return symbols.size() <= kScanMax ? merge_by_scan(merges, symbols)
                                    : merge_by_heap(merges, symbols);
}

}  // namespace troupe::model
