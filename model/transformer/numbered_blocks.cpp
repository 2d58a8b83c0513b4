#include <string>
#include <utility>

#include <troupe/model/transformer/numbered_blocks.h>

namespace troupe::model {

using kernels::kPageKeys;

Result<std::unique_ptr<PagedKvSequence>> NumberedBlocks::begin(
    std::size_t length, std::span<const BlockNumber> blocks) {
  const std::size_t shared = length / kPageKeys;
  if (length % kPageKeys != 0 || shared >= blocks.size()) {
    return Status(Code::kInvalidArgument, "a sequence begins at position " +
                                              std::to_string(length) + " with " +
                                              std::to_string(blocks.size()) + " blocks of " +
                                              std::to_string(kPageKeys) + " positions");
  }
  auto sequence = std::make_unique<PagedKvSequence>(pool_);
  for (const BlockNumber number : blocks.first(shared)) {
    const auto found = blocks_.find(number);
    if (found == blocks_.end()) {
      return Status(Code::kFailedPrecondition, "a sequence begins with block " +
                                                   std::to_string(number) +
                                                   ", which this stage does not hold");
    }
    sequence->append(found->second, true);
  }
  TROUPE_RETURN_IF_ERROR(add(*sequence, blocks.subspan(shared)));
  return sequence;
}

Status NumberedBlocks::add(PagedKvSequence& sequence, std::span<const BlockNumber> blocks) {
  for (const BlockNumber number : blocks) {
    // The old block is freed first, if nobody holds it: its memory may be needed for the new one.
    blocks_.erase(number);
    KvBlock block = take_shared(pool_);
    if (!block) {
      return Status(Code::kResourceExhausted,
                    "no memory for the keys and values of " + std::to_string(kPageKeys) +
                        " more positions (" + std::to_string(pool_->bytes()) +
                        " bytes are in use); end other requests, or let the node offer less memory "
                        "(--memory)");
    }
    sequence.append(block, false);
    blocks_.emplace(number, std::move(block));
  }
  return Status::ok();
}

void NumberedBlocks::free(std::span<const BlockNumber> blocks) {
  for (const BlockNumber number : blocks) blocks_.erase(number);
}

}  // namespace troupe::model
