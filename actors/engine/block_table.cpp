#include <algorithm>

#include <troupe/actors/engine/block_table.h>
#include <troupe/runtime/failpoint.h>

namespace troupe::actors {
namespace {

using Ids = std::span<const model::TokenId>;

Ids ids_of_block(Ids ids, std::size_t index) {
  return ids.subspan(index * kBlockPositions, kBlockPositions);
}

// Returns null for the blocks that everyone may find.
std::shared_ptr<const BlockDomain> domain_at(const BlockSequence& sequence, std::size_t index) {
  return index < sequence.public_blocks ? nullptr : sequence.domain;
}

bool same_domain(const std::shared_ptr<const BlockDomain>& a,
                 const std::shared_ptr<const BlockDomain>& b) {
  return a == b || (a && b && *a == *b);
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15ull;
  return hash ^ (hash >> 29);
}

std::uint64_t hash_of(std::uint64_t before, const std::shared_ptr<const BlockDomain>& domain,
                      Ids ids) {
  // Tests force collisions of hashes, to show that the blocks that a hash finds are compared.
  if (!failpoint("engine", "block_table", "collide")) return 0;
  std::uint64_t hash = mixed(before, domain ? std::hash<std::string>{}(domain->owner) : 1);
  hash = mixed(hash, domain ? std::hash<std::string>{}(domain->salt) : 1);
  for (const model::TokenId id : ids) hash = mixed(hash, static_cast<std::uint64_t>(id));
  return hash;
}

// Extends the sequence's chain of hashes to `count` blocks.
void add_hashes(BlockSequence& sequence, Ids ids, std::size_t count) {
  while (sequence.hashes.size() < count) {
    const std::size_t index = sequence.hashes.size();
    sequence.hashes.push_back(hash_of(index == 0 ? 0 : sequence.hashes.back(),
                                      domain_at(sequence, index), ids_of_block(ids, index)));
  }
}

}  // namespace

void BlockTable::resize(BlockLimits limits) {
  limits_ = limits;
  const auto is_beyond = [&] {
    return idle_count_ > limits_.idle_max ||
           (limits_.blocks_max != 0 && allocated() > limits_.blocks_max);
  };
  while (is_beyond() && drop_least_recently_used()) {
  }
}

void BlockTable::clear() {
  blocks_.clear();
  free_.clear();
  freed_.clear();
  idle_leaves_.clear();
  index_.clear();
  idle_count_ = 0;
}

BlockNumber BlockTable::child(BlockNumber parent, const BlockSequence& sequence, std::size_t index,
                              Ids ids) const {
  const Ids here = ids_of_block(ids, index);
  const auto [begin, end] = index_.equal_range(sequence.hashes[index]);
  for (auto at = begin; at != end; ++at) {
    const Block& block = blocks_[at->second];
    // The parent was compared in the same way, and so on to position 0.
    if (block.parent == parent && same_domain(block.domain, domain_at(sequence, index)) &&
        std::equal(here.begin(), here.end(), block.ids.begin(), block.ids.end())) {
      return at->second;
    }
  }
  return kNone;
}

SharedPrefix BlockTable::find(BlockSequence& sequence, Ids ids) const {
  SharedPrefix found;
  const std::size_t most = ids.empty() ? 0 : (ids.size() - 1) / kBlockPositions;
  add_hashes(sequence, ids, most);
  BlockNumber parent = kNone;
  for (std::size_t index = 0; index < most; ++index) {
    const BlockNumber number = child(parent, sequence, index, ids);
    if (number == kNone) break;
    if (!blocks_[number].ready) {
      found.computing = true;
      break;
    }
    found.blocks.push_back(number);
    found.idle += blocks_[number].users == 0;
    parent = number;
  }
  return found;
}

void BlockTable::share(BlockSequence& sequence, const SharedPrefix& prefix) {
  TROUPE_CHECK(sequence.blocks.empty(), "a sequence that has blocks begins anew");
  for (const BlockNumber number : prefix.blocks) {
    Block& block = blocks_[number];
    TROUPE_CHECK(block.ready && block.indexed, "block " + std::to_string(number) + " is not ready");
    if (block.users++ == 0) {
      --idle_count_;
      idle_leaves_.erase(block.used);
    }
  }
  sequence.blocks = prefix.blocks;
  sequence.shared = sequence.indexed = prefix.blocks.size();
  sequence.is_private = false;
}

std::uint64_t BlockTable::available() const {
  if (limits_.blocks_max == 0) return UINT32_MAX;
  const std::uint64_t held = in_use();
  return held >= limits_.blocks_max ? 0 : limits_.blocks_max - held;
}

BlockNumber BlockTable::allocate() {
  if (limits_.blocks_max != 0 && allocated() >= limits_.blocks_max) {
    (void)drop_least_recently_used();  // without an idle block, the sequence goes beyond the limit
  }
  BlockNumber number = static_cast<BlockNumber>(blocks_.size());
  if (free_.empty()) {
    blocks_.emplace_back();
  } else {
    number = *free_.begin();
    free_.erase(free_.begin());
    freed_.erase(number);  // a stage gives its memory back when the block is taken anew
  }
  Block& block = blocks_[number];
  block = Block{};
  block.allocated = true;
  block.users = 1;
  block.taken = ++clock_;
  return number;
}

bool BlockTable::take(BlockSequence& sequence, std::size_t count, bool beyond) {
  if (!beyond && count > available()) return false;
  for (std::size_t i = 0; i < count; ++i) sequence.blocks.push_back(allocate());
  return true;
}

void BlockTable::enter(BlockSequence& sequence, Ids ids) {
  const std::size_t known = std::min(sequence.blocks.size(), ids.size() / kBlockPositions);
  if (sequence.is_private || sequence.indexed >= known) return;
  add_hashes(sequence, ids, known);
  for (std::size_t index = sequence.indexed; index < known; ++index) {
    const BlockNumber parent = index == 0 ? kNone : sequence.blocks[index - 1];
    if (child(parent, sequence, index, ids) != kNone) {
      sequence.is_private = true;
      return;
    }
    const BlockNumber number = sequence.blocks[index];
    Block& block = blocks_[number];
    block.indexed = true;
    block.hash = sequence.hashes[index];
    block.parent = parent;
    block.domain = domain_at(sequence, index);
    const Ids here = ids_of_block(ids, index);
    block.ids.assign(here.begin(), here.end());
    if (parent != kNone) ++blocks_[parent].children;
    index_.emplace(block.hash, number);
    sequence.indexed = index + 1;
  }
}

std::vector<FilledBlock> BlockTable::filled_by(const BlockSequence& sequence, std::size_t begin,
                                               std::size_t end) const {
  std::vector<FilledBlock> filled;
  for (std::size_t index = begin / kBlockPositions; index < end / kBlockPositions; ++index) {
    const BlockNumber number = sequence.blocks[index];
    filled.push_back({number, blocks_[number].taken});
  }
  return filled;
}

void BlockTable::fill(std::span<const FilledBlock> filled) {
  for (const FilledBlock& one : filled) {
    if (one.number >= blocks_.size()) continue;
    Block& block = blocks_[one.number];
    if (block.allocated && block.taken == one.taken) block.ready = true;
  }
}

void BlockTable::make_idle(BlockNumber number) {
  Block& block = blocks_[number];
  block.used = ++clock_;
  ++idle_count_;
  if (is_leaf(block)) idle_leaves_.emplace(block.used, number);
}

void BlockTable::take_out(BlockNumber number) {
  Block& block = blocks_[number];
  if (!block.indexed) return;
  const auto [begin, end] = index_.equal_range(block.hash);
  index_.erase(std::find_if(begin, end, [&](const auto& at) { return at.second == number; }));
  block.indexed = false;
  if (block.parent == kNone) return;
  Block& parent = blocks_[block.parent];
  --parent.children;
  if (is_leaf(parent)) idle_leaves_.emplace(parent.used, block.parent);
}

void BlockTable::make_free(BlockNumber number) {
  take_out(number);
  blocks_[number] = Block{};
  free_.insert(number);
  freed_.insert(number);
}

bool BlockTable::drop_least_recently_used() {
  if (idle_leaves_.empty()) return false;
  const BlockNumber number = idle_leaves_.begin()->second;
  idle_leaves_.erase(idle_leaves_.begin());
  --idle_count_;
  make_free(number);
  return true;
}

void BlockTable::release(BlockSequence& sequence) {
  // If the news that a step was computed is lost, a ready block may follow one that is not ready,
  // whose number soon belongs to another block.
  std::size_t ready = 0;
  while (ready < sequence.blocks.size() && blocks_[sequence.blocks[ready]].ready) ++ready;
  // Begin at the end, so that a block is dropped before the one that it follows.
  for (std::size_t index = sequence.blocks.size(); index-- > 0;) {
    const BlockNumber number = sequence.blocks[index];
    Block& block = blocks_[number];
    if (--block.users > 0) continue;
    const bool may_be_found = index < ready && block.indexed;
    may_be_found ? make_idle(number) : make_free(number);
  }
  sequence.blocks.clear();
  sequence.shared = sequence.indexed = 0;
  sequence.is_private = false;
  resize(limits_);
}

std::map<std::string, std::uint64_t> BlockTable::idle_by_owner() const {
  std::map<std::string, std::uint64_t> idle;
  for (const Block& block : blocks_) {
    if (block.allocated && block.users == 0 && block.domain) ++idle[block.domain->owner];
  }
  return idle;
}

std::vector<BlockNumber> BlockTable::take_freed() {
  std::vector<BlockNumber> freed(freed_.begin(), freed_.end());
  freed_.clear();
  return freed;
}

void BlockTable::tell_freed_again(std::span<const BlockNumber> freed) {
  for (const BlockNumber number : freed) {
    if (free_.contains(number)) freed_.insert(number);
  }
}

}  // namespace troupe::actors
