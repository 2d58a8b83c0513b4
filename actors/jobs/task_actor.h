#pragma once

#include <memory>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/actors/troupe/jobs.h>

// A node's side of jobs: it maps and merges shards of the kinds that its program registers, one
// after the other, as its head orders it, and answers with the bytes or with the reason why there
// are none. An exception of the user's function becomes an error of the shard.

namespace troupe::actors {

struct RegisteredKind {
  std::string name;
  JobMap map;
  JobMerge merge;
};

struct TaskSetup {
  std::shared_ptr<Link> link;
  net::PublicKey head{};
};
task_actor spawn_tasks(caf::actor_system& system, TaskSetup setup);

}  // namespace troupe::actors
