#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// Byte-pair merging: of all adjacent pairs, the one with the lowest rank is joined first (the
// leftmost among equals), until no pair can be joined. O(n log n) in the symbols of a word.
// Pure; any thread may read a filled table.
// Source: Sennrich, Haddow & Birch 2016, algorithm 1.

namespace troupe::model {

// (left id, right id) -> (rank, joined id), open addressing.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = kNone;
    std::int32_t joined = 0;
  };
  static constexpr std::uint32_t kNone = 0xffffffff;

  explicit MergeTable(std::size_t count);
  // Adds a pair. If it was added before, it keeps its first rank. Ids are >= 0.
  void put(std::int32_t left, std::int32_t right, Merge merge);
  Merge find(std::int32_t left, std::int32_t right) const;

 private:
  struct Slot {
    std::uint64_t pair = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  std::size_t place(std::uint64_t pair) const;

  std::vector<Slot> slots_;
};

// Joins `symbols` in place. Returns the number of symbols that are left, which are the first ones.
std::size_t merge_symbols(const MergeTable& merges, std::span<std::int32_t> symbols);

}  // namespace troupe::model
