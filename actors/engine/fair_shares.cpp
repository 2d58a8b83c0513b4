#include <algorithm>

#include <troupe/actors/engine/fair_shares.h>
#include <troupe/runtime/status.h>

namespace troupe::actors {
namespace {

constexpr std::size_t kAskersMax = 1024;  // there are fewer askers with requests anyway

}  // namespace

double FairShares::least(double otherwise) const {
  bool any = false;
  double least = otherwise;
  for (const auto& [name, asker] : askers_) {
    if (asker.requests == 0) continue;
    least = any ? std::min(least, asker.had) : asker.had;
    any = true;
  }
  return least;
}

void FairShares::begin(const std::string& name, std::uint32_t weight) {
  const double now = least(0);
  Asker& asker = askers_[name];
  asker.weight = std::clamp<std::uint32_t>(weight, 1, kWeightMax);
  // An asker that asked for nothing has no claim to what the others had meanwhile; a debt stays.
  if (asker.requests++ == 0) asker.had = std::max(asker.had, now);
}

void FairShares::end(const std::string& name) {
  const auto found = askers_.find(name);
  TROUPE_CHECK(found != askers_.end() && found->second.requests > 0, "nobody asked: " + name);
  if (--found->second.requests > 0) return;
  const bool idle = std::none_of(askers_.begin(), askers_.end(),
                                 [](const auto& entry) { return entry.second.requests > 0; });
  if (idle) return askers_.clear();
  // Only an asker that had more than the others is remembered.
  const double now = least(0);
  std::erase_if(askers_, [&](const auto& entry) {
    return entry.second.requests == 0 && entry.second.had <= now;
  });
  if (askers_.size() <= kAskersMax) return;
  auto least_served = askers_.end();
  for (auto at = askers_.begin(); at != askers_.end(); ++at) {
    if (at->second.requests > 0) continue;
    if (least_served == askers_.end() || at->second.had < least_served->second.had)
      least_served = at;
  }
  if (least_served != askers_.end()) askers_.erase(least_served);
}

void FairShares::charge(const std::string& name, std::size_t tokens) {
  const auto found = askers_.find(name);
  if (found == askers_.end()) return;
  found->second.had += static_cast<double>(tokens) / found->second.weight;
}

std::size_t FairShares::requests(const std::string& name) const {
  const auto found = askers_.find(name);
  return found == askers_.end() ? 0 : found->second.requests;
}

double FairShares::had(const std::string& name, double more) const {
  const auto found = askers_.find(name);
  return found == askers_.end() ? 0 : found->second.had + more / found->second.weight;
}

}  // namespace troupe::actors
