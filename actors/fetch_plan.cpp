#include <algorithm>

#include <troupe/actors/bulk.h>

namespace troupe::actors {

void FetchPlan::add(const model::BlobRef& blob, std::uint64_t have) {
  if (!known_.insert(blob.sha256).second) return;
  blobs_.push_back({blob, have, have});
}

std::optional<FetchPlan::Ask> FetchPlan::next() {
  if (under_way_.size() >= kWindow) return std::nullopt;
  while (ask_index_ < blobs_.size() && blobs_[ask_index_].asked >= blobs_[ask_index_].blob.bytes) {
    ++ask_index_;
  }
  if (ask_index_ >= blobs_.size()) return std::nullopt;
  Item& item = blobs_[ask_index_];
  Ask ask{item.blob.sha256, item.asked,
          static_cast<std::uint32_t>(
              std::min<std::uint64_t>(kChunkBytes, item.blob.bytes - item.asked))};
  item.asked += ask.length;
  under_way_.push_back(ask);
  return ask;
}

Result<FetchPlan::Got> FetchPlan::on_chunk(const std::string& sha256, std::uint64_t offset,
                                           std::size_t bytes) {
  if (under_way_.empty()) return Status(Code::kBadData, "a chunk came that nobody asked for");
  const Ask expected = under_way_.front();
  if (expected.sha256 != sha256 || expected.offset != offset || expected.length != bytes) {
    return Status(Code::kBadData, "a chunk of blob " + sha256 + " at " + std::to_string(offset) +
                                      " came, the one of " + expected.sha256 + " at " +
                                      std::to_string(expected.offset) + " was due");
  }
  under_way_.pop_front();
  Item& item = blobs_.front();
  item.received += bytes;
  Got got;
  if (item.received == item.blob.bytes) {
    got.blob_complete = true;
    blobs_.pop_front();
    if (ask_index_ > 0) --ask_index_;
    got.all_complete = blobs_.empty();
  }
  return got;
}

bool FetchPlan::expects(const std::string& sha256, std::uint64_t offset, std::size_t bytes) const {
  return !under_way_.empty() && under_way_.front().sha256 == sha256 &&
         under_way_.front().offset == offset && under_way_.front().length == bytes;
}

void FetchPlan::restart() {
  under_way_.clear();
  ask_index_ = 0;
  for (Item& item : blobs_) item.asked = item.received;
}

}  // namespace troupe::actors
