#pragma once

#include <future>
#include <memory>
#include <string>

#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/facade/process.h>
#include <troupe/actors/node/node.h>

// Starts what a process is in a cluster: its head, a member that holds layers and maps shards, or
// both. The daemon and the cluster within one process share it. The process has its link, whose
// sockets are opened when every room is attached, and its bulk actor.

namespace troupe::actors {

// Spawns the actors of a head whose jobs lie in `journal`. Fills in link, store, bulk and jobs of
// `setup`.
service_actor spawn_head(Process& process, CoordinatorSetup setup,
                         std::shared_ptr<Journal> journal);

struct Member {
  node_actor node;
  task_actor tasks;
  // Gets the member's name in the cluster, or why it did not join.
  std::shared_ptr<std::promise<Result<std::string>>> joined;
};
// Spawns the actors of a member. Its node begins to join when it gets join_atom, for which the
// link's sockets must be open. Fills in of `setup` what comes from the process: link, store, bulk,
// device, tasks and on_joined.
Member spawn_member(Process& process, NodeSetup setup);

}  // namespace troupe::actors
