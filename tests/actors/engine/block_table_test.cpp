#include <map>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/block_table.h>
#include <troupe/runtime/failpoint.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

using Ids = std::vector<model::TokenId>;

// For each entry of `blocks`, returns a block full of that id; then `rest` times the id 0.
Ids ids_of(const std::vector<int>& blocks, std::size_t rest) {
  Ids ids;
  for (const int id : blocks) ids.insert(ids.end(), kBlockPositions, id);
  ids.insert(ids.end(), rest, 0);
  return ids;
}

BlockSequence sequence_of(const std::string& owner, const std::string& salt = "") {
  BlockSequence sequence;
  sequence.domain = std::make_shared<const BlockDomain>(BlockDomain{owner, salt});
  return sequence;
}

void check(const BlockTable& table, const std::vector<const BlockSequence*>& sequences) {
  const Status status = table.check(sequences);
  INFO(status.message());
  REQUIRE(status.is_ok());
}

// Begins a sequence with the blocks that it can share, takes the rest, and computes all of it.
void compute(BlockTable& table, BlockSequence& sequence, const Ids& ids) {
  table.share(sequence, table.find(sequence, ids));
  const std::size_t begin = sequence.blocks.size() * kBlockPositions;
  REQUIRE(table.take(sequence, blocks_of(ids.size()) - sequence.blocks.size(), false));
  table.enter(sequence, ids);
  table.fill(table.filled_by(sequence, begin, ids.size()));
}

// Returns the number of blocks with which a request would begin.
std::size_t shared(const BlockTable& table, const Ids& ids, const std::string& owner = "a",
                   const std::string& salt = "", std::size_t public_blocks = 0) {
  BlockSequence sequence = sequence_of(owner, salt);
  sequence.public_blocks = public_blocks;
  return table.find(sequence, ids).blocks.size();
}

struct Disarm {
  ~Disarm() { disarm_failpoints(); }
};

}  // namespace

TEST_CASE("blocks: full ones are found by their ids from position 0 on, the last row's never") {
  BlockTable table({8});
  BlockSequence first = sequence_of("a");
  compute(table, first, ids_of({1, 2, 3}, 10));
  CHECK(shared(table, ids_of({1, 2, 3}, 10)) == 3);
  CHECK(shared(table, ids_of({1, 2, 3}, 0)) == 2);  // the row of the last id has the logits
  CHECK(shared(table, ids_of({1, 2, 3}, 1)) == 3);
  CHECK(shared(table, ids_of({1, 2, 4}, 1)) == 2);
  CHECK(shared(table, ids_of({2, 3}, 1)) == 0);  // elsewhere, the same ids are other keys
  CHECK(shared(table, ids_of({1}, 1)) == 1);
  Ids differs = ids_of({1, 2, 3}, 5);
  differs[2 * kBlockPositions - 1] = 9;  // in the last id of the second block
  CHECK(shared(table, differs) == 1);
  check(table, {&first});
  table.release(first);
  CHECK(table.in_use() == 0);
  CHECK(table.idle() == 3);
  CHECK(table.take_freed().size() == 1);  // the block that was not full
  CHECK(shared(table, ids_of({1, 2, 3}, 10)) == 3);
  check(table, {});
  table.clear();
  CHECK(shared(table, ids_of({1, 2, 3}, 10)) == 0);
}

TEST_CASE("blocks: only requests of one owner with one salt share them, but for public ones") {
  BlockTable table({16});
  BlockSequence mine = sequence_of("a", "s");
  const Ids ids = ids_of({1, 2, 3}, 1);
  compute(table, mine, ids);
  CHECK(shared(table, ids, "a", "s") == 3);
  CHECK(shared(table, ids, "a", "") == 0);
  CHECK(shared(table, ids, "a", "t") == 0);
  CHECK(shared(table, ids, "b", "s") == 0);
  CHECK(shared(table, ids, "as", "") == 0);
  CHECK(shared(table, ids, "b", "s", 2) == 0);  // what was computed in private is not public
  BlockSequence open = sequence_of("b");
  open.public_blocks = 2;
  compute(table, open, ids);
  CHECK(shared(table, ids, "c", "", 2) == 2);
  CHECK(shared(table, ids, "c", "", 1) == 1);
  CHECK(shared(table, ids, "b", "", 2) == 3);
  CHECK(shared(table, ids, "c") == 0);
  check(table, {&mine, &open});
}

TEST_CASE("blocks: ids are compared, not only hashed") {
  const Disarm disarm;
  arm_failpoint("engine.block_table.collide", 1,
                [] { return Status(Code::kInternal, "all hashes are one"); });
  BlockTable table({16});
  BlockSequence first = sequence_of("a"), second = sequence_of("b");
  compute(table, first, ids_of({1, 2}, 1));
  compute(table, second, ids_of({1, 2}, 1));
  CHECK(second.shared == 0);
  CHECK(shared(table, ids_of({1, 2}, 1)) == 2);
  CHECK(shared(table, ids_of({2, 1}, 1)) == 0);
  CHECK(shared(table, ids_of({1, 1}, 1)) == 1);
  CHECK(shared(table, ids_of({1, 2}, 1), "c") == 0);
  check(table, {&first, &second});
  table.release(first);
  check(table, {&second});
}

TEST_CASE("blocks: a sequence waits for one that is being computed until it is ready or given up") {
  BlockTable table({16});
  const Ids ids = ids_of({1, 2}, 1);
  BlockSequence writer = sequence_of("a"), reader = sequence_of("a"), other = sequence_of("b");
  REQUIRE(table.take(writer, 1, false));
  table.enter(writer, ids);
  CHECK(table.find(reader, ids).computing);
  CHECK_FALSE(table.find(other, ids).computing);
  const auto filled = table.filled_by(writer, 0, 64);
  REQUIRE(filled.size() == 1);
  CHECK(table.filled_by(writer, 0, 63).empty());
  table.fill(filled);
  CHECK(table.find(reader, ids).blocks.size() == 1);
  CHECK_FALSE(table.find(reader, ids).computing);
  // The second block is given up before it is ready: what was sent for it no longer counts.
  REQUIRE(table.take(writer, 1, false));
  table.enter(writer, ids);
  const auto late = table.filled_by(writer, 64, 128);
  table.release(writer);
  CHECK_FALSE(table.find(reader, ids).computing);
  table.share(reader, table.find(reader, ids));
  REQUIRE(table.take(reader, 1, false));
  REQUIRE(late[0].number == reader.blocks[1]);  // the number is another block now
  table.enter(reader, ids);
  table.fill(late);
  CHECK(table.find(writer, ids).computing);
  check(table, {&reader});
}

TEST_CASE("blocks: one that is ready behind one that is not is kept by nobody") {
  BlockTable table({8});
  BlockSequence sequence = sequence_of("a");
  const Ids ids = ids_of({1, 2, 3}, 10);
  REQUIRE(table.take(sequence, 4, false));
  table.enter(sequence, ids);
  // The news that the second block was computed is lost.
  table.fill(table.filled_by(sequence, 0, kBlockPositions));
  table.fill(table.filled_by(sequence, 2 * kBlockPositions, ids.size()));
  check(table, {&sequence});
  table.release(sequence);
  check(table, {});
  CHECK(table.idle() == 1);
  // Another sequence takes the number of the lost block: the third block does not follow that one.
  BlockSequence other = sequence_of("a");
  compute(table, other, ids_of({1, 7, 3}, 10));
  check(table, {&other});
  CHECK(shared(table, ids) == 1);
}

TEST_CASE("blocks: what two sequences computed at once has one place in the index") {
  BlockTable table({16});
  BlockSequence a = sequence_of("a"), b = sequence_of("a");
  const Ids ids = ids_of({1, 2, 3}, 1);
  for (BlockSequence* one : {&a, &b}) REQUIRE(table.take(*one, 4, false));
  for (BlockSequence* one : {&a, &b}) table.enter(*one, ids);
  for (BlockSequence* one : {&a, &b}) table.fill(table.filled_by(*one, 0, ids.size()));
  CHECK(b.is_private);
  check(table, {&a, &b});
  table.release(b);
  CHECK(table.take_freed().size() == 4);
  CHECK(shared(table, ids) == 3);
  check(table, {&a});
}

TEST_CASE("blocks: the least recently used idle ones go first, and those that others follow last") {
  BlockTable table({6});
  BlockSequence one = sequence_of("a"), two = sequence_of("a"), three = sequence_of("a");
  compute(table, one, ids_of({1, 2}, 0));
  compute(table, two, ids_of({3, 4}, 0));
  table.release(one);
  table.release(two);
  CHECK(table.idle() == 4);
  CHECK(table.available() == 6);
  // The first sequence is used again, so the blocks of the other one are dropped first.
  table.share(one, table.find(one, ids_of({1, 2}, 1)));
  CHECK(one.blocks.size() == 2);
  CHECK(table.available() == 4);
  table.release(one);
  compute(table, three, ids_of({5, 6, 7}, 0));
  CHECK(shared(table, ids_of({3, 4}, 1)) == 1);
  CHECK(shared(table, ids_of({1, 2}, 1)) == 2);
  CHECK(table.take_freed().empty());  // the block was taken anew at once
  CHECK_FALSE(table.take(three, 4, false));
  CHECK(three.blocks.size() == 3);
  CHECK(table.take(three, 3, false));
  CHECK(table.idle() == 0);
  CHECK(table.take(three, 1, true));
  CHECK(table.is_over());
  check(table, {&three});
}

TEST_CASE("blocks: a smaller limit drops idle ones, and they have a limit of their own") {
  BlockTable table({8});
  BlockSequence one = sequence_of("a");
  compute(table, one, ids_of({1, 2, 3, 4}, 0));
  table.release(one);
  table.resize({2});
  CHECK(table.idle() == 2);
  CHECK(shared(table, ids_of({1, 2, 3}, 1)) == 2);
  const auto freed = table.take_freed();
  CHECK(freed.size() == 2);
  CHECK(table.take_freed().empty());
  table.tell_freed_again(freed);
  CHECK(table.take_freed() == freed);
  table.resize({0, 1});
  CHECK(table.idle() == 1);
  BlockSequence other = sequence_of("b");
  compute(table, other, ids_of({5, 6, 7}, 0));
  table.release(other);
  CHECK(table.idle() == 1);
  CHECK(table.available() > 1000);
  check(table, {});
}

namespace {

// Runs everything that can happen in any order, with a copy of what the stages would hold.
class RandomUse {
 public:
  explicit RandomUse(std::uint64_t seed) : random_(seed), table_({12}), held_(6) {
    for (Held& held : held_) renew(held);
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      act(held_[draw(held_.size())]);
      for (const BlockNumber number : table_.take_freed()) memory_.erase(number);
      std::vector<const BlockSequence*> all;
      for (const Held& held : held_) all.push_back(&held.sequence);
      std::erase_if(all, [](const BlockSequence* one) { return one->blocks.empty(); });
      check(table_, all);
    }
    CHECK(shares_ > 0);
  }

 private:
  struct Held {
    BlockSequence sequence;
    Ids ids;
    std::size_t computed = 0;  // positions
    std::vector<FilledBlock> sent;
  };
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  void renew(Held& held) {
    held = {};
    held.sequence = sequence_of(draw(2) == 0 ? "a" : "b");
    held.sequence.public_blocks = draw(3);
    std::vector<int> blocks(1 + draw(4));
    for (int& id : blocks) id = static_cast<int>(draw(2));
    held.ids = ids_of(blocks, 1 + draw(63));
  }
  void act(Held& held) {
    if (held.sequence.blocks.empty()) {
      renew(held);
      const SharedPrefix prefix = table_.find(held.sequence, held.ids);
      if (prefix.computing || prefix.blocks.size() + 1 > table_.available()) return;
      shares_ += !prefix.blocks.empty();
      table_.share(held.sequence, prefix);
      held.computed = prefix.blocks.size() * kBlockPositions;
      for (std::size_t i = 0; i < prefix.blocks.size(); ++i) {
        // The block holds what this sequence would have computed.
        const Ids now(held.ids.begin(),
                      held.ids.begin() + static_cast<std::ptrdiff_t>((i + 1) * kBlockPositions));
        REQUIRE(memory_.at(prefix.blocks[i]) == now);
      }
    }
    switch (draw(4)) {
      case 0:
        table_.release(held.sequence);
        held.sent.clear();
        return;
      case 1:
        table_.fill(held.sent);
        held.sent.clear();
        return;
      default:
        write(held, std::min(held.ids.size(), held.computed + 1 + draw(100)));
    }
  }
  void write(Held& held, std::size_t end) {
    const std::size_t had = held.sequence.blocks.size();
    const std::size_t wanted = std::max(had, blocks_of(end)) - had;
    if (!table_.take(held.sequence, wanted, false)) return;
    for (std::size_t i = had; i < held.sequence.blocks.size(); ++i) {
      memory_[held.sequence.blocks[i]].clear();
    }
    table_.enter(held.sequence, held.ids);
    for (std::size_t i = held.computed / kBlockPositions; i < blocks_of(end); ++i) {
      const std::size_t until = std::min(end, (i + 1) * kBlockPositions);
      memory_[held.sequence.blocks[i]].assign(
          held.ids.begin(), held.ids.begin() + static_cast<std::ptrdiff_t>(until));
    }
    for (const FilledBlock& one : table_.filled_by(held.sequence, held.computed, end)) {
      held.sent.push_back(one);
    }
    held.computed = end;
  }

  std::mt19937_64 random_;
  BlockTable table_;
  std::vector<Held> held_;
  std::map<BlockNumber, Ids> memory_;  // the ids up to the end of a block's positions
  std::size_t shares_ = 0;
};

}  // namespace

TEST_CASE("blocks: the invariants hold in any order of use") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    RandomUse(seed).run(1500);
  }
}
