#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <troupe/model/transformer/stage.h>

// The keys and values of sequences in pages of kernels::kPageKeys positions. One block of memory
// holds a page of every layer of the stage; it is zeroed when taken, and what a sequence forgets is
// zeroed again, because kernels count on unwritten lanes being zero.
// A sequence belongs to the owner of its stage; only dropping it may happen on another thread.

namespace troupe::model {

// How pages of a stage look, and how much of them there may be. Outlives stage and sequences.
class KvPool {
 public:
  // bytes_max: 0 means no bound.
  KvPool(kernels::KvType type, std::size_t layers, std::size_t kv_heads, std::size_t head_dim,
         std::uint64_t bytes_max);
  std::byte* take();  // a zeroed block, 64-byte aligned; nullptr when memory is short
  void give_back(std::byte* block);

  kernels::KvType type() const { return type_; }
  std::size_t layers() const { return layers_; }
  std::size_t page_bytes() const { return page_bytes_; }
  std::size_t block_bytes() const { return layers_ * page_bytes_; }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t bytes_max() const { return bytes_max_; }
  // Zeroes keys [key, kPageKeys) of one layer's page.
  void forget_keys(std::byte* page, std::size_t key) const;

 private:
  const kernels::KvType type_;
  const std::size_t layers_, kv_heads_, head_dim_, page_bytes_;
  const std::uint64_t bytes_max_;
  std::atomic<std::uint64_t> bytes_{0};  // handed out now
};

class PagedKvSequence final : public KvSequence {
 public:
  explicit PagedKvSequence(std::shared_ptr<KvPool> pool);
  ~PagedKvSequence() override;
  PagedKvSequence(const PagedKvSequence&) = delete;
  PagedKvSequence& operator=(const PagedKvSequence&) = delete;

  std::size_t length() const override { return length_; }
  void truncate(std::size_t length) override;
  std::uint64_t bytes() const override { return blocks_.size() * pool_->block_bytes(); }

  const KvPool* pool() const { return pool_.get(); }
  // Takes the pages for `count` more positions. False when memory is short; nothing changes then.
  // Between reserve and commit or cancel, `reserved()` is that count.
  bool reserve(std::size_t count);
  std::size_t reserved() const { return reserved_; }
  void cancel();
  void commit() { length_ += reserved_, reserved_ = 0; }
  // Pages of one layer (counted from the stage's first), for the reserved positions too.
  const std::byte* const* pages(std::size_t layer) const { return pages_[layer].data(); }
  std::byte* page(std::size_t layer, std::size_t position) {
    return blocks_[position / kernels::kPageKeys] + layer * pool_->page_bytes();
  }

 private:
  void drop_blocks(std::size_t keep);

  std::shared_ptr<KvPool> pool_;
  std::size_t length_ = 0, reserved_ = 0;
  std::vector<std::byte*> blocks_;
  std::vector<std::vector<const std::byte*>> pages_;  // [layer][page]
};

}  // namespace troupe::model
