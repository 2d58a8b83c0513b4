#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/actors/node/device_actor.h>
#include <troupe/model/store/store.h>

// What the actors of one process share: the actor system (our own, or the embedding program's), the
// link, the store, the actor that moves weights, and the device. The destructor ends the actors and
// closes the link.

namespace troupe::actors {

class Process {
 public:
  // Makes a process with its own actor system (null `system`) or in the caller's, which must
  // outlive the process.
  //   Errors: kResourceExhausted if there may not be enough threads or descriptors.
  static Result<std::shared_ptr<Process>> make(caf::actor_system* system);
  // Does the same with the store of a home, which is made if it is absent. If it cannot be made,
  // the store gives the reason when something is to be written into it.
  static Result<std::shared_ptr<Process>> open(const std::string& home, caf::actor_system* system);
  ~Process();

  // Spawns the actor that moves weights over `link`.
  // A client serves the files that it opens, and nothing else of its store.
  void open_bulk(bool serves_store = true);
  // Spawns the actor of the device that computes with `threads` threads (0: every usable CPU), or
  // on the GPU that `accelerator` names ("cuda:0"; "" for none).
  //   Errors: those of Device::create; kResourceExhausted if the system does not allow that number
  //   of threads.
  Status open_device(int threads, const std::string& accelerator = "");

  caf::actor_system& system() { return *system_; }
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  std::string home;     // the folder of open(), "" if there is none
  bulk_actor bulk;      // set by open_bulk()
  DeviceHandle device;  // set by open_device(); before that it has no actor
  std::shared_ptr<std::atomic<std::uint64_t>> bulk_bytes_in =
      std::make_shared<std::atomic<std::uint64_t>>(0);

  // Registers an actor that must end with the process.
  template <class Handle>
  Handle track(Handle handle) {
    tracked_.push_back(caf::actor_cast<caf::strong_actor_ptr>(handle));
    return handle;
  }
  // Ends the actors and closes the link. Idempotent.
  void close();

 private:
  Process() = default;
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> own_;
  caf::actor_system* system_ = nullptr;
  std::vector<caf::strong_actor_ptr> tracked_;
};

}  // namespace troupe::actors
