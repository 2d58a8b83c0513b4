#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <troupe/model/transformer/kv_cache.h>
#include <troupe/runtime/status.h>

namespace troupe::model {

using kernels::kKeyBlock;
using kernels::kPageKeys;

KvPool::KvPool(kernels::KvType type, std::size_t layers, std::size_t kv_heads, std::size_t head_dim,
               std::uint64_t bytes_max, std::unique_ptr<BlockMemory> memory)
    : type_(type),
      layers_(layers),
      kv_heads_(kv_heads),
      head_dim_(head_dim),
      page_bytes_((kernels::kv_page_bytes(type, kv_heads, head_dim) + 63) / 64 * 64),
      bytes_max_(bytes_max),
      memory_(std::move(memory)) {}

std::byte* KvPool::take() {
  const std::uint64_t after = bytes_.fetch_add(block_bytes()) + block_bytes();
  if (bytes_max_ == 0 || after <= bytes_max_) {
    if (memory_ != nullptr) {
      if (std::byte* block = memory_->take()) return block;
    } else if (void* block = std::aligned_alloc(64, block_bytes())) {
      std::memset(block, 0, block_bytes());
      return static_cast<std::byte*>(block);
    }
  }
  bytes_.fetch_sub(block_bytes());
  return nullptr;
}

void KvPool::give_back(std::byte* block) {
  memory_ != nullptr ? memory_->give_back(block) : std::free(block);
  bytes_.fetch_sub(block_bytes());
}

void KvPool::forget_keys(std::byte* page, std::size_t key) const {
  if (memory_ != nullptr) return;  // an accelerator's kernels use written keys only
  const std::size_t element = type_ == kernels::KvType::kF16 ? 2 : 4;
  const std::size_t head_bytes = kPageKeys * head_dim_ * element;
  for (std::size_t head = 0; head < kv_heads_; ++head) {
    std::byte* k = page + head * head_bytes;  // [key / 16][channel][key % 16]
    for (std::size_t block = key / kKeyBlock; block < kPageKeys / kKeyBlock; ++block) {
      const std::size_t from = block == key / kKeyBlock ? key % kKeyBlock : 0;
      for (std::size_t channel = 0; channel < head_dim_; ++channel)
        std::memset(k + ((block * head_dim_ + channel) * kKeyBlock + from) * element, 0,
                    (kKeyBlock - from) * element);
    }
    std::byte* v = page + kv_heads_ * head_bytes + head * head_bytes;  // [key][channel]
    std::memset(v + key * head_dim_ * element, 0, (kPageKeys - key) * head_dim_ * element);
  }
}

KvBlock take_shared(const std::shared_ptr<KvPool>& pool) {
  std::byte* block = pool->take();
  if (block == nullptr) return nullptr;
  return KvBlock(block, [pool](std::byte* taken) { pool->give_back(taken); });
}

PagedKvSequence::PagedKvSequence(std::shared_ptr<KvPool> pool)
    : pool_(std::move(pool)), pages_(pool_->layers()) {}

PagedKvSequence::~PagedKvSequence() { drop_blocks(0); }

void PagedKvSequence::append(KvBlock block, bool full) {
  TROUPE_CHECK(reserved_ == 0, "a block comes inside a step");
  TROUPE_CHECK(given_.size() == blocks_.size(), "a sequence with blocks of its own is given one");
  blocks_.push_back(block.get());
  for (std::size_t layer = 0; layer < pages_.size(); ++layer)
    pages_[layer].push_back(block.get() + layer * pool_->page_bytes());
  given_.push_back(std::move(block));
  if (!full) return;
  TROUPE_CHECK(full_ + 1 == given_.size() && length_ == full_ * kPageKeys,
               "a full block comes after others");
  length_ = ++full_ * kPageKeys;
}

void PagedKvSequence::drop_blocks(std::size_t keep) {
  if (is_given()) return;
  while (blocks_.size() > keep) {
    pool_->give_back(blocks_.back());
    blocks_.pop_back();
    for (auto& pages : pages_) pages.pop_back();
  }
}

void PagedKvSequence::truncate(std::size_t length) {
  TROUPE_CHECK(reserved_ == 0, "truncate inside a step");
  if (length >= length_) return;
  TROUPE_CHECK(length >= full_ * kPageKeys, "a sequence forgets positions of shared blocks");
  const std::size_t end = std::exchange(length_, length);
  drop_blocks((length + kPageKeys - 1) / kPageKeys);
  // Zeroes the rest of a page, and the further pages of a sequence that keeps the blocks it was
  // given.
  const std::size_t last = std::min(end, blocks_.size() * kPageKeys);
  for (std::size_t key = length; key < last; key += kPageKeys - key % kPageKeys)
    for (std::size_t layer = 0; layer < pool_->layers(); ++layer)
      pool_->forget_keys(page(layer, key), key % kPageKeys);
}

bool PagedKvSequence::reserve(std::size_t count) {
  TROUPE_CHECK(reserved_ == 0, "a second reservation of " + std::to_string(count));
  const std::size_t had = blocks_.size();
  if (is_given() && had * kPageKeys < length_ + count) return false;
  while (blocks_.size() * kPageKeys < length_ + count) {
    std::byte* block = pool_->take();
    if (block == nullptr) {
      drop_blocks(had);
      return false;
    }
    blocks_.push_back(block);
    for (std::size_t layer = 0; layer < pages_.size(); ++layer)
      pages_[layer].push_back(block + layer * pool_->page_bytes());
  }
  reserved_ = count;
  return true;
}

void PagedKvSequence::cancel() {
  reserved_ = 0;
  drop_blocks((length_ + kPageKeys - 1) / kPageKeys);
}

}  // namespace troupe::model
