#pragma once

#include <memory>
#include <span>
#include <utility>

#include <troupe/model/transformer/kv_cache.h>
#include <troupe/model/transformer/numbered_blocks.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/model/transformer/weights.h>

// What the stages of every device have in common: a model's weights for a range of layers, and
// sequences whose keys and values lie in the blocks of a KvPool, wherever the pool has its memory.
// One thread at a time uses it, as it uses the stage.

namespace troupe::model {

class PagedStage : public Stage {
 public:
  const ModelConfig& config() const override { return config_; }
  LayerRange range() const override { return weights_->range; }
  std::uint64_t weights_bytes() const override { return weights_->bytes; }
  const StageWeights& weights() const override { return *weights_; }
  std::unique_ptr<KvSequence> new_sequence() const override {
    return std::make_unique<PagedKvSequence>(kv_pool_);
  }
  Result<std::unique_ptr<KvSequence>> begin_sequence(std::size_t length,
                                                     std::span<const BlockNumber> blocks) override;
  Status add_blocks(KvSequence& sequence, std::span<const BlockNumber> blocks) override;
  void free_blocks(std::span<const BlockNumber> blocks) override { numbered_.free(blocks); }
  std::uint64_t kv_bytes() const override { return kv_pool_->bytes(); }

 protected:
  PagedStage(const ModelConfig& config, std::unique_ptr<StageWeights> weights,
             std::shared_ptr<KvPool> pool)
      : config_(config),
        weights_(std::move(weights)),
        kv_pool_(std::move(pool)),
        numbered_(kv_pool_) {}
  bool is_first() const { return weights_->range.begin == 0; }
  bool is_last() const { return weights_->range.end == config_.layers; }
  KvPool& pool() const { return *kv_pool_; }

  const ModelConfig config_;
  const std::unique_ptr<StageWeights> weights_;

 private:
  const std::shared_ptr<KvPool> kv_pool_;
  NumberedBlocks numbered_;
};

}  // namespace troupe::model
