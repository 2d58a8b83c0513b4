#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <troupe/actors/facade/process.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/status.h>

// What a Cluster holds: the actors of its process, and the actor that answers its requests.

namespace troupe {

struct Cluster::Impl {
  std::shared_ptr<actors::Process> process;
  actors::service_actor service;
  Status may_ask;  // why `service` refuses everything, in a node's program that is not a client
  actors::bulk_actor bulk;  // in a connection: serves the models of its requests
  std::string description;
  bool local = true;
  std::shared_ptr<Daemon> daemon;  // in start() and join(); outlives the handle of its actor
  actors::task_actor tasks;        // in local(), start() and join()
  ConnectOptions options;          // in a connection
  // The connection that replaced this one after the head had been away.
  std::mutex again_mutex;
  std::shared_ptr<Cluster> again;
};

}  // namespace troupe
