#include <troupe/actors/cluster_state/budgets.h>

namespace troupe::actors {

std::shared_ptr<void> OwnerCounts::take(const std::string& owner, std::uint64_t amount,
                                        std::uint64_t most) {
  std::erase_if(counts_, [](const auto& entry) { return *entry.second == 0; });
  auto& count = counts_[owner];
  if (!count) count = std::make_shared<std::atomic<std::uint64_t>>(0);
  if (amount > most || *count > most - amount) return nullptr;
  *count += amount;
  return std::shared_ptr<void>(count.get(), [count = count, amount](void*) { *count -= amount; });
}

std::uint64_t OwnerCounts::count(const std::string& owner) const {
  const auto found = counts_.find(owner);
  return found == counts_.end() ? 0 : found->second->load();
}

}  // namespace troupe::actors
