#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/kernels/kv_page.h>
#include <troupe/runtime/status.h>

// The block table of a deployment: which blocks of kPageKeys positions hold the keys and values of
// which sequence. The engine owns it; the stages keep one block of memory for each number and obey.
// A full block is found again by the ids from position 0 on, which are compared, not only hashed,
// and by the domain that separates askers. Everything else that its bits depend on (weights,
// arithmetic, the type of keys and values, rounding) is the same in the whole deployment, which has
// this one table; a new placement begins with an empty table. Pure.
//
// A block is
//   free       nobody's; the stages may give its memory back
//   computing  one sequence's, which writes it
//   ready      full, and in the index: sequences share it, and nobody writes it any more
//   idle       ready, and in no sequence: kept until its room is needed (least recently used first)

namespace troupe::actors {

using BlockNumber = std::uint32_t;
constexpr std::size_t kBlockPositions = kernels::kPageKeys;

// Returns the number of blocks that hold `positions` positions.
constexpr std::size_t blocks_of(std::size_t positions) {
  return (positions + kBlockPositions - 1) / kBlockPositions;
}

// Which requests may find a block: those of the same owner with the same salt.
struct BlockDomain {
  std::string owner, salt;
  bool operator==(const BlockDomain&) const = default;
};

// The blocks of one sequence, in order. Its request holds it, and only the table changes it.
struct BlockSequence {
  std::shared_ptr<const BlockDomain> domain = std::make_shared<const BlockDomain>();
  std::size_t public_blocks = 0;  // the first blocks, which everyone may find
  std::vector<BlockNumber> blocks = {};
  std::size_t shared = 0;                  // the first of them, which were ready when it began
  std::size_t indexed = 0;                 // the first of them, which the index knows
  bool is_private = false;                 // later blocks do not go into the index
  std::vector<std::uint64_t> hashes = {};  // of the chains up to each full block of its ids
};

// The blocks with which a sequence could begin.
struct SharedPrefix {
  std::vector<BlockNumber> blocks;
  std::size_t idle = 0;    // how many of them are in no sequence
  bool computing = false;  // the next block is being computed by another sequence
};

// A block that will be full once the step that was sent has been computed.
struct FilledBlock {
  BlockNumber number = 0;
  std::uint64_t taken = 0;  // tells a block from a later one of this number
};

struct BlockLimits {
  std::uint64_t blocks_max = 0;         // of all sequences and idle ones together; 0: no bound
  std::uint64_t idle_max = UINT64_MAX;  // of the idle ones alone
};

class BlockTable {
 public:
  explicit BlockTable(BlockLimits limits) : limits_(limits) {}

  // Drops idle blocks until the new limits hold, if they can: blocks of sequences stay.
  void resize(BlockLimits limits);
  // Forgets every block and sequence: the stages hold nothing any more.
  void clear();

  // Returns the longest shared prefix of a sequence with these ids. At least one id is left over,
  // whose row has the logits of the next token. Fills sequence.hashes.
  SharedPrefix find(BlockSequence& sequence, std::span<const model::TokenId> ids) const;
  // Begins a sequence that has no block with what find() found since the last change.
  void share(BlockSequence& sequence, const SharedPrefix& prefix);
  // Returns the number of blocks that can be taken, including idle ones.
  std::uint64_t available() const;
  // True if sequences hold more than the limit allows.
  bool is_over() const {
    return limits_.blocks_max != 0 && allocated() - idle_count_ > limits_.blocks_max;
  }
  // Appends `count` fresh blocks to a sequence. Returns false, and changes nothing, if there are
  // too few; with `beyond`, the limit does not count.
  bool take(BlockSequence& sequence, std::size_t count, bool beyond);
  // Puts the blocks whose ids are known by now into the index, so that others wait for them instead
  // of computing the same. Once another sequence has an equal block there, the rest stays private.
  void enter(BlockSequence& sequence, std::span<const model::TokenId> ids);
  // Returns the blocks that positions [begin, end) make full.
  std::vector<FilledBlock> filled_by(const BlockSequence& sequence, std::size_t begin,
                                     std::size_t end) const;
  // Records that the blocks have been computed, so that others may share them.
  void fill(std::span<const FilledBlock> filled);
  // Ends a sequence. Its ready blocks are idle unless others have them; its other blocks are free.
  void release(BlockSequence& sequence);

  // Returns the blocks that became free since the last call and are still free.
  std::vector<BlockNumber> take_freed();
  // Makes take_freed() return those of these blocks that are still free once more, because the
  // stages may not have been told about them.
  void tell_freed_again(std::span<const BlockNumber> freed);
  bool has_freed() const { return !freed_.empty(); }

  std::uint64_t in_use() const { return allocated() - idle_count_; }
  std::uint64_t idle() const { return idle_count_; }
  // Returns the idle blocks that only requests of one owner can find, by owner.
  std::map<std::string, std::uint64_t> idle_by_owner() const;
  const BlockLimits& limits() const { return limits_; }

  // Returns the position after the last ready block of a sequence; for tests.
  std::size_t ready_end(const BlockSequence& sequence) const;
  // Checks what must hold at any time, given all sequences that have blocks: no block is written by
  // two or written while it is shared, none is lost, none is shared across domains, the counts
  // agree.
  //   Errors: kInternal, with a sentence that says what is wrong.
  Status check(std::span<const BlockSequence* const> sequences) const;

 private:
  static constexpr BlockNumber kNone = UINT32_MAX;
  struct Block {
    std::uint32_t users = 0;     // sequences that have it
    std::uint32_t children = 0;  // blocks of the index that follow it
    bool allocated = false, ready = false, indexed = false;
    std::uint64_t taken = 0;  // when it was taken, and when it was last used, by clock_
    std::uint64_t used = 0;
    // The rest is set if the block is in the index:
    std::uint64_t hash = 0;
    BlockNumber parent = kNone;
    std::shared_ptr<const BlockDomain> domain;  // null: everyone's
    std::vector<model::TokenId> ids;
  };

  std::uint64_t allocated() const { return blocks_.size() - free_.size(); }
  BlockNumber child(BlockNumber parent, const BlockSequence& sequence, std::size_t index,
                    std::span<const model::TokenId> ids) const;
  bool is_leaf(const Block& block) const { return block.users == 0 && block.children == 0; }
  BlockNumber allocate();
  void make_idle(BlockNumber number);
  void take_out(BlockNumber number);  // of the index
  void make_free(BlockNumber number);
  bool drop_least_recently_used();
  Status check_sequence(const BlockSequence& sequence, std::vector<std::uint32_t>* users,
                        std::vector<std::uint32_t>* writers) const;
  Status check_block(BlockNumber number, std::uint32_t users, std::uint32_t writers) const;

  BlockLimits limits_;
  std::vector<Block> blocks_;    // by number
  std::set<BlockNumber> free_;   // the lowest is taken first
  std::set<BlockNumber> freed_;  // free blocks that the stages were not told about yet
  std::map<std::uint64_t, BlockNumber> idle_leaves_;  // by the time of their last use
  std::unordered_multimap<std::uint64_t, BlockNumber> index_;
  std::uint64_t idle_count_ = 0, clock_ = 0;
};

}  // namespace troupe::actors
