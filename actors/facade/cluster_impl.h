#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <troupe/actors/facade/process.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/status.h>

// What a Cluster holds: the actors of its process and the one that answers its requests.

namespace troupe {

struct Cluster::Impl {
  std::shared_ptr<actors::Process> process;
  actors::service_actor service;
  Status may_ask;  // why `service` refuses everything, in a program that is a node and no client
  actors::bulk_actor bulk;  // of a connection: serves the models that its requests bring
  std::string description;
  bool local = true;
  std::shared_ptr<Daemon> daemon;  // of start() and join(); outlives the handle of its actor
  actors::task_actor tasks;        // of local(), start() and join()
  ConnectOptions options;          // of a connection
  // The connection that replaced this one after the head had been away.
  std::mutex again_mutex;
  std::shared_ptr<Cluster> again;
};

}  // namespace troupe
