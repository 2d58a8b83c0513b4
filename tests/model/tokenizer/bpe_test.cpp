#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/tokenizer/bpe.h>

using namespace troupe;
using namespace troupe::model;

TEST_CASE("long words merge as short ones do") {
  // The heap (long words) and the scan (short ones) are two algorithms of one definition.
  std::mt19937 random(5);
  MergeTable table(400);
  for (std::uint32_t rank = 0; rank < 300; ++rank) {
    const auto below = static_cast<std::int32_t>(4 + rank / 4);
    table.put(static_cast<std::int32_t>(random() % below),
              static_cast<std::int32_t>(random() % below),
              {rank, static_cast<std::int32_t>(random() % 100)});
  }
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::int32_t> symbols(2 + random() % 90);
    for (std::int32_t& symbol : symbols) symbol = static_cast<std::int32_t>(random() % 6);
    std::vector<std::int32_t> expected = symbols;
    for (;;) {
      std::size_t best = expected.size();
      MergeTable::Merge merge;
      for (std::size_t i = 0; i + 1 < expected.size(); ++i) {
        const MergeTable::Merge found = table.find(expected[i], expected[i + 1]);
        if (found.rank < merge.rank) {
          merge = found;
          best = i;
        }
      }
      if (best == expected.size()) break;
      expected[best] = merge.joined;
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    symbols.resize(merge_symbols(table, symbols));
    CHECK(symbols == expected);
  }
}
