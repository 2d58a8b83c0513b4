#pragma once

#include <memory>
#include <span>
#include <utility>

#include <troupe/model/transformer/kv_cache.h>
#include <troupe/model/transformer/numbered_blocks.h>
#include <troupe/model/transformer/stage.h>

// The sequences of a stage whose keys and values lie in the blocks of a KvPool, wherever the memory
// of that is. One thread at a time, as the stage itself.

namespace troupe::model {

class PagedStage : public Stage {
 public:
  std::unique_ptr<KvSequence> new_sequence() const override {
    return std::make_unique<PagedKvSequence>(kv_pool_);
  }
  Result<std::unique_ptr<KvSequence>> begin_sequence(std::size_t length,
                                                     std::span<const BlockNumber> blocks) override;
  Status add_blocks(KvSequence& sequence, std::span<const BlockNumber> blocks) override;
  void free_blocks(std::span<const BlockNumber> blocks) override { numbered_.free(blocks); }
  std::uint64_t kv_bytes() const override { return kv_pool_->bytes(); }

 protected:
  explicit PagedStage(std::shared_ptr<KvPool> pool)
      : kv_pool_(std::move(pool)), numbered_(kv_pool_) {}
  KvPool& pool() const { return *kv_pool_; }

 private:
  const std::shared_ptr<KvPool> kv_pool_;
  NumberedBlocks numbered_;
};

}  // namespace troupe::model
