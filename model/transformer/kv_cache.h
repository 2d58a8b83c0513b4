#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <troupe/model/transformer/kv_sequence.h>
#include <troupe/runtime/kernels/kv_page.h>

// The keys and values of sequences in pages of kernels::kPageKeys positions. One block of memory
// holds a page of every layer of the stage. On the host, a block is zeroed when it is taken, and
// positions that a sequence forgets are zeroed again, because the CPU's kernels rely on unwritten
// lanes being zero. An accelerator's kernels do not use what was never written. A sequence belongs
// to the owner of its stage. Another thread may only drop it.

namespace troupe::model {

// The memory of the blocks of a pool, if it is not the host's. Any thread may call it.
class BlockMemory {
 public:
  virtual ~BlockMemory() = default;
  // Returns a block, or nullptr if there is none left. Its initial contents do not matter.
  virtual std::byte* take() = 0;
  virtual void give_back(std::byte* block) = 0;
};

// Hands out the blocks of a stage and bounds their memory. It outlives the stage and its sequences.
class KvPool {
 public:
  // `bytes_max` bounds the blocks that are handed out at one time; 0 means that there is no bound.
  // `memory` gives the blocks; without it, they lie on the host.
  KvPool(kernels::KvType type, std::size_t layers, std::size_t kv_heads, std::size_t head_dim,
         std::uint64_t bytes_max, std::unique_ptr<BlockMemory> memory = nullptr);
  // Returns a block (on the host, a zeroed one), 64-byte aligned, or nullptr if memory is short.
  std::byte* take();
  void give_back(std::byte* block);

  kernels::KvType type() const { return type_; }
  std::size_t layers() const { return layers_; }
  std::size_t page_bytes() const { return page_bytes_; }
  std::size_t block_bytes() const { return layers_ * page_bytes_; }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t bytes_max() const { return bytes_max_; }
  // Zeroes keys [key, kPageKeys) of one layer's page on the host.
  void forget_keys(std::byte* page, std::size_t key) const;

 private:
  const kernels::KvType type_;
  const std::size_t layers_, kv_heads_, head_dim_, page_bytes_;
  const std::uint64_t bytes_max_;
  const std::unique_ptr<BlockMemory> memory_;  // null: the host's
  std::atomic<std::uint64_t> bytes_{0};        // of the blocks that are handed out
};

// A block that several sequences and a table of numbers may hold; the last one gives it back.
using KvBlock = std::shared_ptr<std::byte>;
// Takes a block from the pool (on the host, a zeroed one). Returns null if memory is short.
KvBlock take_shared(const std::shared_ptr<KvPool>& pool);

// The pages of a sequence, which either takes its blocks from the pool itself as positions are
// reserved, or is given all of them by append().
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
  // Appends a block. A full block has been computed already, may be held by others, and is never
  // written: full blocks come first, and the sequence begins after them.
  void append(KvBlock block, bool full);
  // Takes the pages for `count` more positions. Returns false and changes nothing if memory is
  // short, or if the sequence was given too few blocks. Between reserve and commit or cancel,
  // reserved() is `count`.
  bool reserve(std::size_t count);
  bool is_given() const { return !given_.empty(); }
  std::size_t reserved() const { return reserved_; }
  void cancel();
  void commit() { length_ += reserved_, reserved_ = 0; }
  // Returns the blocks, which hold a page of every layer each; reserved positions included.
  std::span<std::byte* const> blocks() const { return blocks_; }
  // Returns the pages of one layer (counted from the stage's first), reserved positions included.
  const std::byte* const* pages(std::size_t layer) const { return pages_[layer].data(); }
  std::byte* page(std::size_t layer, std::size_t position) {
    return blocks_[position / kernels::kPageKeys] + layer * pool_->page_bytes();
  }

 private:
  void drop_blocks(std::size_t keep);

  std::shared_ptr<KvPool> pool_;
  std::size_t length_ = 0, reserved_ = 0;
  std::vector<std::byte*> blocks_;
  std::vector<KvBlock> given_;  // holds blocks_, if they were given
  std::size_t full_ = 0;        // how many blocks at the front are full, and are not written again
  std::vector<std::vector<const std::byte*>> pages_;  // [layer][page]
};

}  // namespace troupe::model
