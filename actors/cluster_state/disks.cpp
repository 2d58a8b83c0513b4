#include <algorithm>

#include <troupe/actors/cluster_state/disks.h>

namespace troupe::actors {

void Disks::add(const std::string& model, const net::PublicKey& node, model::LayerRange layers) {
  for (std::size_t i = layers.begin; i < layers.end; ++i) layers_[model][node].insert(i);
}

std::vector<net::PublicKey> Disks::holders(const Members& members, const std::string& model,
                                           model::LayerRange layers,
                                           const net::PublicKey& except) const {
  std::vector<net::PublicKey> keys;
  const auto disks = layers_.find(model);
  if (disks == layers_.end()) return keys;
  for (const auto& [key, held] : disks->second) {
    const auto first = held.lower_bound(layers.begin);
    const bool some = first != held.end() && *first < layers.end;
    if (some && key != except && members.is_alive(key)) keys.push_back(key);
  }
  return keys;
}

std::size_t Disks::copies_min(const Members& members, const std::string& model,
                              model::LayerRange layers) const {
  std::size_t fewest = members.all().size();
  for (std::size_t i = layers.begin; i < layers.end; ++i) {
    fewest = std::min(fewest, holders(members, model, {i, i + 1}, {}).size());
  }
  return fewest;
}

}  // namespace troupe::actors
