#include <algorithm>
#include <utility>

#include <troupe/actors/bulk/fetch_rights.h>

namespace troupe::actors {

FetchGrant grant_of(const model::Manifest& manifest, std::vector<net::PublicKey> peers) {
  FetchGrant grant{manifest.model, {manifest.header}, std::move(peers)};
  for (const auto& tensor : manifest.tensors) grant.parts.push_back(tensor.blob);
  return grant;
}

void FetchRights::grant(const FetchGrant& grant) {
  if (grant.peers.empty()) {
    models_.erase(grant.model);
    return;
  }
  Model model{++grants_, {}, {grant.peers.begin(), grant.peers.end()}};
  for (const model::BlobRef& part : grant.parts) model.parts.insert(part.sha256);
  models_[grant.model] = std::move(model);
  if (models_.size() <= kModelsMax) return;
  models_.erase(std::min_element(models_.begin(), models_.end(), [](const auto& a, const auto& b) {
    return a.second.number < b.second.number;
  }));
}

bool FetchRights::may(const net::PublicKey& peer, const std::string& sha256) const {
  return std::any_of(models_.begin(), models_.end(), [&](const auto& entry) {
    return entry.second.peers.contains(peer) && entry.second.parts.contains(sha256);
  });
}

}  // namespace troupe::actors
