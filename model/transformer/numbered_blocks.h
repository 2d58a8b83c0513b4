#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <troupe/model/transformer/kv_cache.h>
#include <troupe/runtime/status.h>

// The blocks of a stage by number. Which numbers there are, which sequences share them and when
// they are taken anew is decided elsewhere (actors/engine/block_table.h); here, each number only
// has its memory. Sequences hold the memory of their blocks themselves, so that a number that is
// taken anew or given back too early cannot change memory that is in use. One thread, that of the
// stage's owner.

namespace troupe::model {

class NumberedBlocks {
 public:
  explicit NumberedBlocks(std::shared_ptr<KvPool> pool) : pool_(std::move(pool)) {}

  // Makes a sequence whose first `length` positions, in whole pages, lie in the first of `blocks`.
  // The other blocks are taken anew.
  //   Errors: kInvalidArgument (`length` is not a multiple of kPageKeys, or no block is left to
  //   write to), kFailedPrecondition (a block that should hold positions is not there),
  //   kResourceExhausted.
  Result<std::unique_ptr<PagedKvSequence>> begin(std::size_t length,
                                                 std::span<const BlockNumber> blocks);
  // Appends blocks that are taken anew.
  //   Errors: kResourceExhausted.
  Status add(PagedKvSequence& sequence, std::span<const BlockNumber> blocks);
  // Gives the memory of these numbers back. Numbers without memory are ignored.
  void free(std::span<const BlockNumber> blocks);
  std::size_t size() const { return blocks_.size(); }

 private:
  std::shared_ptr<KvPool> pool_;
  std::unordered_map<BlockNumber, KvBlock> blocks_;
};

}  // namespace troupe::model
