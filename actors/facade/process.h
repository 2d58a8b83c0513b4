#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/actors/node/device_actor.h>
#include <troupe/actors/troupe.h>
#include <troupe/model/store/store.h>

// What the actors of one process share: the actor system (our own, or the embedding program's), the
// link, the store. Ends its actors, and closes the link, when it goes.

namespace troupe::actors {

class Host {
 public:
  // With our own actor system (null `system`) or in the caller's, which must outlive the host.
  static std::shared_ptr<Host> make(caf::actor_system* system);
  // The same with the store of a home, which is made when absent. Where it cannot be made, the
  // store says why when something is to be written into it.
  static Result<std::shared_ptr<Host>> open(const std::string& home, caf::actor_system* system);
  ~Host();

  caf::actor_system& system() { return *system_; }
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  std::shared_ptr<std::atomic<std::uint64_t>> bulk_bytes_in =
      std::make_shared<std::atomic<std::uint64_t>>(0);

  // Remembers an actor that must end with the host.
  template <class Handle>
  Handle track(Handle handle) {
    tracked_.push_back(caf::actor_cast<caf::strong_actor_ptr>(handle));
    return handle;
  }
  // Ends the actors and closes the link. Idempotent.
  void close();

 private:
  Host() = default;
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> own_;
  caf::actor_system* system_ = nullptr;
  std::vector<caf::strong_actor_ptr> tracked_;
};

// A coordinator, a node and a device in this process, without sockets. `system` as in Host::make.
Result<Cluster> make_local_cluster(const LocalOptions& options, caf::actor_system* system);
// A connection to a head.
Result<Cluster> make_client_cluster(const ConnectOptions& options, caf::actor_system* system);

// The model of a request, as the service wants it: its identity, and the manifest when the file is
// on this machine; tells `bulk` to serve its parts.
Result<OpenModel> describe_model(model::Store& store, const std::string& model,
                                 const std::vector<model::LayerRange>& layers, std::uint8_t kv_code,
                                 const bulk_actor& bulk);

}  // namespace troupe::actors

namespace troupe {

struct Cluster::Impl {
  std::shared_ptr<actors::Host> host;
  actors::service_actor service;
  actors::bulk_actor bulk;
  std::string description;
  bool local = true;
  std::shared_ptr<Daemon> daemon;  // of start() and join(); outlives the handle of its actor
  actors::task_actor tasks;        // of local(), start() and join()
  ConnectOptions options;          // of a connection
  // Another one, made when the head had been away.
  std::mutex again_mutex;
  std::shared_ptr<Cluster> again;
};

// Blocks until the request's model is loaded (cluster.cpp); what it was called by.
namespace actors {
task_actor tasks_of(Daemon& daemon);  // daemon.cpp

// cluster_jobs.cpp: a head that was lost, and is there again.

// 12 hexadecimal digits that name a job or an answer.
std::string drawn_id();
// The connection that followed the one of `impl`, if there was one.
std::shared_ptr<Cluster> connection_of(Cluster::Impl& impl);
bool is_lost(Cluster::Impl& impl);
// Tries for so long, and once at least.
Result<std::shared_ptr<Cluster>> reconnect(Cluster::Impl& impl, std::chrono::seconds patience);
// kNotFound: no answer with this id is open.
Result<OpenStream> open_stream(Cluster::Impl& impl, const std::string& id);

Result<OpenPtr> load_model(Cluster::Impl& impl, const GenerateRequest& request);
}  // namespace actors

}  // namespace troupe
