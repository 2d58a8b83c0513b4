#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/admission.h>
#include <troupe/actors/cluster_state.h>
#include <troupe/actors/link.h>
#include <troupe/model/store.h>

// The head's actor: admits keys, keeps leases, places models on nodes, starts engines and answers
// clients. A shell around ClusterState: it decodes, calls, and sends. It is not on the way of a
// token between stages.

namespace troupe::actors {

struct CoordinatorSetup {
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  bulk_actor bulk;
  std::shared_ptr<Admission> admission;  // null in a process without sockets
  net::Endpoint advertise;
  std::string role = "head";      // what `status` says: "head" or "local"
  bool works = true;              // this process holds layers
  std::function<void()> on_stop;  // a client asked this daemon to stop
};
coordinator_actor spawn_coordinator(caf::actor_system& system, CoordinatorSetup setup);

// The answer to `troupe status --json`. Pure.
std::string status_json(const ClusterState& state, const CoordinatorSetup& setup,
                        const LinkCounters& counters);

}  // namespace troupe::actors
