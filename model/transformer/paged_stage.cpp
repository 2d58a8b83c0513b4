#include <troupe/model/transformer/paged_stage.h>

namespace troupe::model {

Result<std::unique_ptr<KvSequence>> PagedStage::begin_sequence(
    std::size_t length, std::span<const BlockNumber> blocks) {
  TROUPE_ASSIGN_OR_RETURN(auto sequence, numbered_.begin(length, blocks));
  return std::unique_ptr<KvSequence>(std::move(sequence));
}

Status PagedStage::add_blocks(KvSequence& sequence, std::span<const BlockNumber> blocks) {
  auto* paged = dynamic_cast<PagedKvSequence*>(&sequence);
  if (paged == nullptr || paged->pool() != kv_pool_.get() || !paged->is_given())
    return Status(Code::kInvalidArgument,
                  "a sequence that has no numbered blocks of this stage was given some");
  return numbered_.add(*paged, blocks);
}

}  // namespace troupe::model
