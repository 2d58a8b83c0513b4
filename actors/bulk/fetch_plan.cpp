#include <algorithm>

#include <troupe/actors/bulk/fetch_plan.h>
#include <troupe/runtime/status.h>

namespace troupe::actors {

void FetchPlan::add(const model::BlobRef& blob) {
  const auto [place, fresh] = items_.emplace(blob.sha256, Item{blob, std::nullopt, 0, 0, {}});
  if (fresh) order_.push_back(place->first);
}

std::optional<model::BlobRef> FetchPlan::claim(const Source& source) {
  Connection& connection = connections_[source];
  if (connection.under_way.size() >= window_ || !connection.claimed.empty()) return std::nullopt;
  for (const std::string& sha256 : order_) {
    const auto found = items_.find(sha256);
    if (found == items_.end()) continue;
    Item& item = found->second;
    if (item.source || item.lacking.contains(source)) continue;
    item.source = source;
    connection.claimed.push_back(sha256);
    return item.blob;
  }
  return std::nullopt;
}

bool FetchPlan::begin(const std::string& sha256, std::uint64_t have) {
  Item& item = items_.at(sha256);
  item.received = item.asked = have;
  if (have < item.blob.bytes) return false;
  std::erase(connections_[*item.source].claimed, sha256);
  return true;
}

std::optional<FetchPlan::Ask> FetchPlan::next(const Source& source) {
  Connection& connection = connections_[source];
  if (connection.under_way.size() >= window_ || connection.claimed.empty()) return std::nullopt;
  Item& item = items_.at(connection.claimed.front());
  Ask ask{item.blob.sha256, item.asked,
          static_cast<std::uint32_t>(
              std::min<std::uint64_t>(kChunkBytes, item.blob.bytes - item.asked))};
  item.asked += ask.length;
  if (item.asked == item.blob.bytes) connection.claimed.pop_front();
  connection.under_way.push_back(ask);
  return ask;
}

std::vector<FetchPlan::Ask>::const_iterator FetchPlan::find_ask(const std::vector<Ask>& asks,
                                                                const std::string& sha256,
                                                                std::uint64_t offset) {
  return std::find_if(asks.begin(), asks.end(),
                      [&](const Ask& ask) { return ask.sha256 == sha256 && ask.offset == offset; });
}

bool FetchPlan::expects(const Source& source, const std::string& sha256, std::uint64_t offset,
                        std::size_t bytes) const {
  const auto connection = connections_.find(source);
  if (connection == connections_.end()) return false;
  const auto due = find_ask(connection->second.under_way, sha256, offset);
  return due != connection->second.under_way.end() && due->length == bytes;
}

bool FetchPlan::on_chunk(const Source& source, const std::string& sha256, std::uint64_t offset) {
  auto& under_way = connections_.at(source).under_way;
  const auto due = find_ask(under_way, sha256, offset);
  TROUPE_CHECK(due != under_way.end(), "a chunk that was not asked for was taken");
  Item& item = items_.at(sha256);
  item.received += due->length;
  under_way.erase(due);
  return item.received == item.blob.bytes;
}

void FetchPlan::done(const std::string& sha256) { items_.erase(sha256); }

void FetchPlan::release(Item& item) {
  Connection& connection = connections_[*item.source];
  const std::string& sha256 = item.blob.sha256;
  std::erase_if(connection.under_way, [&](const Ask& ask) { return ask.sha256 == sha256; });
  std::erase(connection.claimed, sha256);
  item.source.reset();
  item.received = item.asked = 0;
}

void FetchPlan::lacks(const Source& source, const std::string& sha256) {
  const auto found = items_.find(sha256);
  if (found == items_.end()) return;
  found->second.lacking.insert(source);
  if (found->second.source == source) release(found->second);
}

std::vector<std::string> FetchPlan::lose(const Source& source) {
  std::vector<std::string> blobs;
  for (auto& [sha256, item] : items_) {
    if (item.source != source) continue;
    release(item);
    blobs.push_back(sha256);
  }
  connections_.erase(source);
  return blobs;
}

bool FetchPlan::busy(const Source& source) const {
  const auto connection = connections_.find(source);
  return connection != connections_.end() && !connection->second.under_way.empty();
}

const model::BlobRef* FetchPlan::claimed(const Source& source, const std::string& sha256) const {
  const auto found = items_.find(sha256);
  if (found == items_.end() || found->second.source != source) return nullptr;
  return &found->second.blob;
}

bool FetchPlan::hopeless(std::span<const Source> sources) const {
  return std::any_of(items_.begin(), items_.end(), [&](const auto& entry) {
    return std::all_of(sources.begin(), sources.end(),
                       [&](const Source& source) { return entry.second.lacking.contains(source); });
  });
}

}  // namespace troupe::actors
