#pragma once

#include <future>
#include <memory>
#include <string>

#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/facade/process.h>
#include <troupe/actors/node/node.h>

// Starts the actors of a process's role in a cluster: those of its head, those of a member that
// holds layers and maps shards, or both. The daemon and the cluster within one process share this
// code. The process already has its bulk actor, and its link, whose sockets open when every room is
// attached.

namespace troupe::actors {

// Spawns the actors of a head whose jobs lie in `journal`. Fills in link, store, bulk and jobs of
// `setup`.
service_actor spawn_head(Process& process, CoordinatorSetup setup,
                         std::shared_ptr<Journal> journal);

struct Member {
  node_actor node;
  task_actor tasks;
  // Gets the member's name in the cluster, or the reason why it did not join.
  std::shared_ptr<std::promise<Result<std::string>>> joined;
};
// Spawns the actors of a member. Its node begins to join when it gets join_atom, for which the
// link's sockets must be open. Fills in the fields of `setup` that come from the process: link,
// store, bulk, device, tasks and on_joined.
Member spawn_member(Process& process, NodeSetup setup);

}  // namespace troupe::actors
