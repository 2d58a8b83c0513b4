#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/cluster_state/costs.h>
#include <troupe/actors/cluster_state/deployments.h>
#include <troupe/actors/cluster_state/disks.h>
#include <troupe/actors/cluster_state/members.h>
#include <troupe/actors/cluster_state/node_orders.h>
#include <troupe/actors/messages/requests.h>

// The coordinator's decider: everything that the head knows about its cluster, by subject, and the
// few events that concern several subjects. Pure: it has no actor, clock, socket or file, and
// `now_us`, the monotonic clock, is an argument. The coordinator turns frames into calls and
// results into frames; placement.h, replacement.h and replicas.h decide where layers go.

namespace troupe::actors {

struct ClusterState {
  // `first_epoch` is larger than any epoch of an earlier run of this head; `head` is the key of the
  // process where engines live.
  explicit ClusterState(std::uint64_t first_epoch, const net::PublicKey& head = {})
      : deployments(first_epoch), head(head) {}

  Members members;
  Costs costs;
  Disks disks;
  NodeOrders orders;
  Deployments deployments;
  net::PublicKey head;

  // Does what Members::join does, and forgets what was measured or has failed on the node before.
  Result<std::string> join(const net::PublicKey& key, const Hello& hello, bool works,
                           std::uint64_t incarnation, std::int64_t now_us);
  // Does what Deployments::loaded does, and notes that the loaded layers lie on the node's disk.
  bool loaded(const net::PublicKey& node, std::uint64_t epoch, std::uint64_t weights_bytes);
  // Notes that a node now has these layers of a model on its disk, and that it fetched
  // `copied_bytes` for them.
  void copied(const std::string& model, const net::PublicKey& node, model::LayerRange layers,
              std::uint64_t copied_bytes);
  // Returns the names of a deployment's nodes, and which layers each of them has.
  std::vector<StageName> stage_names(const Deployment& deployment) const;
};

}  // namespace troupe::actors
