#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include <troupe/actors/node/measured_costs.h>
#include <troupe/runtime/crc32c.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/wire/codec.h>

namespace troupe::wire {
TROUPE_MESSAGE(actors::node::MeasuredCostList)
}  // namespace troupe::wire

namespace troupe::actors::node {
namespace {

constexpr std::size_t kListBytesMax = std::size_t{1} << 20;

// Returns the content of the file: the checksum of what follows, then the list as messages are
// encoded.
std::string with_checksum(std::span<const std::byte> body) {
  const std::uint32_t sum = crc32c(body);
  std::string text(sizeof sum + body.size(), '\0');
  std::memcpy(text.data(), &sum, sizeof sum);
  std::memcpy(text.data() + sizeof sum, body.data(), body.size());
  return text;
}

MeasuredCostList read(const std::filesystem::path& file) {
  const auto text = read_file(file, kListBytesMax);
  std::uint32_t sum = 0;
  if (!text || text->size() < sizeof sum) return {};
  std::memcpy(&sum, text->data(), sizeof sum);
  const auto body = std::as_bytes(std::span(*text)).subspan(sizeof sum);
  if (crc32c(body) != sum) return {};
  auto list = wire::decode<MeasuredCostList>(body);
  return list ? std::move(*list) : MeasuredCostList{};
}

}  // namespace

MeasuredCosts::MeasuredCosts(std::filesystem::path file) : file_(std::move(file)) {
  if (!file_.empty()) list_ = read(file_);
}

std::optional<model::LayerCost> MeasuredCosts::find(const MeasuredWhat& what,
                                                    std::int64_t now_us) const {
  std::lock_guard lock(mutex_);
  for (const MeasuredCost& one : list_.costs) {
    const std::int64_t age_us = now_us - one.at_us;
    if (one.what == what && age_us >= 0 && age_us <= kMeasuredFreshUs) return one.cost;
  }
  return std::nullopt;
}

void MeasuredCosts::keep(const MeasuredWhat& what, const model::LayerCost& cost,
                         std::int64_t now_us) {
  std::lock_guard lock(mutex_);
  std::vector<MeasuredCost>& costs = list_.costs;
  std::erase_if(costs, [&](const MeasuredCost& one) { return one.what == what; });
  costs.push_back({what, cost, now_us});
  if (costs.size() > kModelsMax) costs.erase(costs.begin());
  if (file_.empty()) return;
  const std::vector<std::byte> body = wire::encode(list_);
  if (const Status status = write_file_atomically(file_, with_checksum(body)); !status) {
    log(LogLevel::kWarning, "what was measured is not kept: " + status.message());
  }
}

}  // namespace troupe::actors::node
