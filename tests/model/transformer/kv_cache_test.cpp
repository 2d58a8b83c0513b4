#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/model/transformer/numbered_blocks.h>
#include <troupe/runtime/kernels/table.h>

using namespace troupe;
using namespace troupe::model;

namespace {

constexpr std::size_t kLayers = 3, kHeads = 2, kHeadDim = 8;

void write_keys(PagedKvSequence& sequence, const KvPool& pool, std::size_t begin, std::size_t end) {
  const std::vector<float> ones(kHeads * kHeadDim, 1.0f);
  for (std::size_t layer = 0; layer < kLayers; ++layer)
    for (std::size_t position = begin; position < end; ++position)
      kernels::table(kernels::Isa::kScalar)
          .kv_write(ones.data(), ones.data(), sequence.page(layer, position), pool.type(), kHeads,
                    kHeadDim, position % kernels::kPageKeys);
}

std::size_t bytes_in_use(const PagedKvSequence& sequence, const KvPool& pool, std::size_t pages) {
  std::size_t count = 0;
  for (std::size_t layer = 0; layer < kLayers; ++layer)
    for (std::size_t page = 0; page < pages; ++page) {
      const std::byte* begin = sequence.pages(layer)[page];
      count += pool.page_bytes() -
               static_cast<std::size_t>(std::count(begin, begin + pool.page_bytes(), std::byte{0}));
    }
  return count;
}

}  // namespace

TEST_CASE("pages come zeroed and what is forgotten is zero again") {
  for (const auto type : {kernels::KvType::kF16, kernels::KvType::kF32}) {
    const auto pool = std::make_shared<KvPool>(type, kLayers, kHeads, kHeadDim, 0);
    PagedKvSequence sequence(pool);
    REQUIRE(sequence.reserve(150));
    REQUIRE(sequence.reserved() == 150);
    REQUIRE(bytes_in_use(sequence, *pool, 3) == 0);
    write_keys(sequence, *pool, 0, 150);
    sequence.commit();
    REQUIRE(sequence.length() == 150);
    REQUIRE(sequence.bytes() == 3 * pool->block_bytes());
    // As an f16, 1.0 has one byte that is not zero; as an f32, it has two.
    const std::size_t per_key =
        kLayers * 2 * kHeads * kHeadDim * (type == kernels::KvType::kF16 ? 1 : 2);
    REQUIRE(bytes_in_use(sequence, *pool, 3) == 150 * per_key);
    for (const std::size_t keep : {149, 129, 128, 100, 65, 64, 63, 17, 16, 15, 1}) {
      sequence.truncate(keep);
      REQUIRE(sequence.length() == keep);
      const std::size_t pages = (keep + 63) / 64;
      REQUIRE(sequence.bytes() == pages * pool->block_bytes());
      REQUIRE(bytes_in_use(sequence, *pool, pages) == keep * per_key);
    }
    sequence.truncate(5);  // 5 is more than the sequence's length, so nothing is forgotten
    REQUIRE(sequence.length() == 1);
    sequence.truncate(0);
    REQUIRE(pool->bytes() == 0);
  }
}

TEST_CASE("a limit refuses whole reservations and counts what is given back") {
  const auto unlimited =
      std::make_shared<KvPool>(kernels::KvType::kF16, kLayers, kHeads, kHeadDim, 0);
  const std::uint64_t block = unlimited->block_bytes();
  const auto pool =
      std::make_shared<KvPool>(kernels::KvType::kF16, kLayers, kHeads, kHeadDim, 3 * block + 1);
  PagedKvSequence a(pool);
  {
    PagedKvSequence b(pool);
    REQUIRE(a.reserve(64));
    a.commit();
    REQUIRE_FALSE(b.reserve(193));
    REQUIRE(b.reserved() == 0);
    REQUIRE(pool->bytes() == block);
    REQUIRE(b.reserve(128));
    REQUIRE_FALSE(a.reserve(1));
    b.cancel();
    REQUIRE(pool->bytes() == block);
    REQUIRE(b.reserve(100));
    b.commit();
    REQUIRE(pool->bytes() == 3 * block);
  }
  REQUIRE(pool->bytes() == block);
  REQUIRE(a.reserve(1));
  a.cancel();
  REQUIRE(a.length() == 64);
}

TEST_CASE("numbered blocks are shared, come zeroed, and outlive their number") {
  const auto pool = std::make_shared<KvPool>(kernels::KvType::kF32, kLayers, kHeads, kHeadDim, 0);
  NumberedBlocks blocks(pool);
  const std::vector<BlockNumber> numbers = {7, 3, 9};
  auto first = blocks.begin(0, numbers);
  REQUIRE(first);
  CHECK((*first)->length() == 0);
  CHECK_FALSE((*first)->reserve(193));  // more positions than the given blocks hold
  REQUIRE((*first)->reserve(150));
  write_keys(**first, *pool, 0, 150);
  (*first)->commit();
  const std::size_t written = bytes_in_use(**first, *pool, 3);

  auto second = blocks.begin(128, std::vector<BlockNumber>{7, 3, 4});
  REQUIRE(second);
  CHECK((*second)->length() == 128);
  CHECK((*second)->pages(0)[1] == (*first)->pages(0)[1]);
  CHECK(pool->bytes() == 4 * pool->block_bytes());
  REQUIRE((*second)->reserve(10));
  write_keys(**second, *pool, 128, 138);
  (*second)->commit();
  (*second)->truncate(130);  // this concerns the sequence's own block only
  const std::size_t per_key = written / 150;
  CHECK(bytes_in_use(**second, *pool, 3) == 130 * per_key);
  CHECK(bytes_in_use(**first, *pool, 3) == written);
  REQUIRE((*second)->reserve(62));
  (*second)->cancel();
  REQUIRE(blocks.add(**second, std::vector<BlockNumber>{5}).is_ok());
  REQUIRE((*second)->reserve(126));
  write_keys(**second, *pool, 130, 256);
  (*second)->commit();
  (*second)->truncate(128);
  CHECK(bytes_in_use(**second, *pool, 4) == 128 * per_key);

  // A number that is given to `begin` again means a new block; the sequences keep the old one.
  auto third = blocks.begin(0, std::vector<BlockNumber>{7});
  REQUIRE(third);
  CHECK(bytes_in_use(**third, *pool, 1) == 0);
  CHECK((*third)->pages(0)[0] != (*first)->pages(0)[0]);
  CHECK(bytes_in_use(**first, *pool, 3) == written);
  blocks.free(std::vector<BlockNumber>{7, 3, 9, 100});
  CHECK(blocks.size() == 2);
  CHECK(blocks.begin(64, std::vector<BlockNumber>{3, 8}).code() == Code::kFailedPrecondition);
  CHECK(blocks.begin(64, std::vector<BlockNumber>{4}).code() == Code::kInvalidArgument);
  CHECK(blocks.begin(10, std::vector<BlockNumber>{4, 5}).code() == Code::kInvalidArgument);
  first->reset();
  second->reset();
  third->reset();
  blocks.free(std::vector<BlockNumber>{4, 5});
  CHECK(pool->bytes() == 0);

  const auto small = std::make_shared<KvPool>(kernels::KvType::kF32, kLayers, kHeads, kHeadDim,
                                              2 * pool->block_bytes());
  NumberedBlocks bounded(small);
  const auto refused = bounded.begin(0, numbers);
  CHECK(refused.code() == Code::kResourceExhausted);
  bounded.free(numbers);
  CHECK(small->bytes() == 0);
}
