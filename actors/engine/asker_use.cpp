#include <algorithm>

#include <troupe/actors/engine/asker_use.h>

namespace troupe::actors {

AskerUse& AskerUses::of(const std::string& owner) {
  if (!askers_.contains(owner) && askers_.size() >= kAskersMax) {
    askers_.erase(std::min_element(
        askers_.begin(), askers_.end(),
        [](const auto& a, const auto& b) { return a.second.counted < b.second.counted; }));
  }
  Asker& asker = askers_[owner];
  asker.counted = ++clock_;
  return asker.use;
}

std::vector<NamedUse> AskerUses::all() const {
  std::vector<NamedUse> all;
  for (const auto& [owner, asker] : askers_) all.push_back({owner, asker.use});
  return all;
}

}  // namespace troupe::actors
