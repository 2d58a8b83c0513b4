#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/model/transformer/kv_cache.h>
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
    // In 1.0, one of an f16's two bytes is not zero, and two of an f32's four bytes are not.
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
    sequence.truncate(5);  // longer than it is: nothing to forget
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
