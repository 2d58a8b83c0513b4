#include <algorithm>

#include <troupe/actors/engine/block_table.h>

// The invariants of the block table, for tests and the simulation.

namespace troupe::actors {
namespace {

Status broken(BlockNumber number, const std::string& what) {
  return Status(Code::kInternal, "block " + std::to_string(number) + " " + what);
}

}  // namespace

std::size_t BlockTable::ready_end(const BlockSequence& sequence) const {
  std::size_t end = sequence.blocks.size();
  while (end > 0 && !blocks_[sequence.blocks[end - 1]].ready) --end;
  return end * kBlockPositions;
}

Status BlockTable::check_sequence(const BlockSequence& sequence, std::vector<std::uint32_t>* users,
                                  std::vector<std::uint32_t>* writers) const {
  for (std::size_t index = 0; index < sequence.blocks.size(); ++index) {
    const BlockNumber number = sequence.blocks[index];
    if (number >= blocks_.size() || !blocks_[number].allocated) {
      return broken(number, "is in a sequence, but free");
    }
    const Block& block = blocks_[number];
    ++(*users)[number];
    // A sequence writes every block that it did not find ready, until the block is ready.
    (*writers)[number] += index >= sequence.shared && !block.ready;
    if (index < sequence.shared && !block.ready) {
      return broken(number, "is shared before it is ready");
    }
    if ((index < sequence.indexed) != block.indexed) {
      return broken(number, "and its sequence disagree about the index");
    }
    if (!block.indexed) continue;
    const bool is_public = index < sequence.public_blocks;
    if (is_public != !block.domain || (!is_public && *block.domain != *sequence.domain)) {
      return broken(number, "is in a sequence of another domain");
    }
    if (block.parent != (index == 0 ? kNone : sequence.blocks[index - 1])) {
      return broken(number, "does not follow the block before it");
    }
  }
  return Status::ok();
}

Status BlockTable::check_block(BlockNumber number, std::uint32_t users,
                               std::uint32_t writers) const {
  const Block& block = blocks_[number];
  if (!block.allocated) {
    if (!free_.contains(number)) return broken(number, "is neither free nor anybody's");
    return users == 0 ? Status::ok() : broken(number, "is free, but in a sequence");
  }
  if (free_.contains(number)) return broken(number, "is free and taken at once");
  if (block.users != users) {
    return broken(number, "counts " + std::to_string(block.users) + " sequences instead of " +
                              std::to_string(users));
  }
  if (writers > 1) return broken(number, "is written by two sequences");
  if (writers == 1 && users > 1) return broken(number, "is written while it is shared");
  if (users > 1 && !block.indexed) return broken(number, "is shared without being in the index");
  if (users == 0 && !(block.ready && block.indexed)) return broken(number, "is lost");
  const bool listed = block.users == 0 && idle_leaves_.contains(block.used) &&
                      idle_leaves_.at(block.used) == number;
  if (listed != is_leaf(block)) return broken(number, "is wrongly listed as idle");
  if (block.indexed && block.parent != kNone && !blocks_[block.parent].indexed) {
    return broken(number, "follows a block that the index does not know");
  }
  return Status::ok();
}

Status BlockTable::check(std::span<const BlockSequence* const> sequences) const {
  std::vector<std::uint32_t> users(blocks_.size()), writers(blocks_.size());
  for (const BlockSequence* sequence : sequences) {
    TROUPE_RETURN_IF_ERROR(check_sequence(*sequence, &users, &writers));
  }
  std::uint64_t idle = 0, indexed = 0;
  std::vector<std::uint32_t> children(blocks_.size());
  for (BlockNumber number = 0; number < blocks_.size(); ++number) {
    TROUPE_RETURN_IF_ERROR(check_block(number, users[number], writers[number]));
    const Block& block = blocks_[number];
    idle += block.allocated && block.users == 0;
    indexed += block.indexed;
    if (block.indexed && block.parent != kNone) ++children[block.parent];
  }
  for (BlockNumber number = 0; number < blocks_.size(); ++number) {
    if (blocks_[number].children != children[number]) {
      return broken(number, "counts its followers wrongly");
    }
  }
  if (idle != idle_count_ || indexed != index_.size()) {
    return Status(Code::kInternal, "the block table counts its blocks wrongly");
  }
  if (idle > limits_.idle_max) {
    return Status(Code::kInternal, std::to_string(idle) + " blocks are idle, of " +
                                       std::to_string(limits_.idle_max) + " that may be");
  }
  // A sequence that is alone may go beyond the limit.
  if (limits_.blocks_max != 0 && sequences.size() > 1 && is_over()) {
    return Status(Code::kInternal, std::to_string(in_use()) + " blocks are in use, of " +
                                       std::to_string(limits_.blocks_max));
  }
  return Status::ok();
}

}  // namespace troupe::actors
