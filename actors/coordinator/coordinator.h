#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/link.h>
#include <troupe/model/store/store.h>

// The head's actor: admits keys, keeps leases, places models on nodes, starts engines and answers
// clients. A shell around ClusterState: it decodes, calls, and sends. It is not on the way of a
// token between stages.

namespace troupe::actors {

struct CoordinatorSetup {
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  bulk_actor bulk;
  jobs_actor jobs;
  // Where deployments and streams are written down; null in a process that is no head.
  journal_actor journal;
  std::uint64_t first_epoch = 1;  // larger than any of an earlier run
  // What an earlier run of this head had placed, and the manifests that it knew, by model.
  std::vector<PlacedModel> placed;
  std::map<std::string, model::Manifest> manifests;
  std::shared_ptr<Admission> admission;  // null in a process without sockets
  net::Endpoint advertise;
  std::string role = "head";  // what `status` says: "head" or "local"
  // How long a model that nobody uses stays loaded; absent: for ever.
  std::optional<std::int64_t> keep_alive_us;
  bool works = true;              // this process holds layers
  bool measures = true;           // before layers are placed; without it they go by threads
  std::function<void()> on_stop;  // a client asked this daemon to stop
};
coordinator_actor spawn_coordinator(caf::actor_system& system, CoordinatorSetup setup);

// What a deployment's engine does, for `status`.
struct DeploymentUse {
  std::uint64_t running = 0, queued = 0;   // requests that are answered; that wait for their turn
  std::uint64_t requests = 0, tokens = 0;  // since it was loaded
  std::uint64_t credits = 0, credits_in_use = 0;  // of its path, in steps
  bool busy = false;
  std::optional<std::int64_t> left_s;  // until it is unloaded; absent: busy, or for ever
};
// The answer to `troupe status --json`. Pure.
std::string status_json(const ClusterState& state, const CoordinatorSetup& setup,
                        const LinkCounters& counters,
                        const std::map<std::uint64_t, DeploymentUse>& uses,
                        const RecoveryCounters& recovery);

}  // namespace troupe::actors
