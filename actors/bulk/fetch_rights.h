#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>

// Records which peers may fetch which blobs from this process, as its head says: a peer may fetch
// the parts of a model if it holds layers of that model or is to keep copies of them. Pure.

namespace troupe::actors {

// Grants the whole model.
FetchGrant grant_of(const model::Manifest& manifest, std::vector<net::PublicKey> peers);

class FetchRights {
 public:
  // A head has few models at a time; the grants that are older than these are forgotten.
  static constexpr std::size_t kModelsMax = 256;

  void grant(const FetchGrant& grant);
  void forget_all() { models_.clear(); }
  bool may(const net::PublicKey& peer, const std::string& sha256) const;

 private:
  struct Model {
    std::uint64_t number = 0;  // grants are numbered
    std::set<std::string> parts;
    std::set<net::PublicKey> peers;
  };
  std::map<std::string, Model> models_;
  std::uint64_t grants_ = 0;
};

}  // namespace troupe::actors
