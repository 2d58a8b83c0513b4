#include <troupe/actors/bulk/bulk.h>
#include <troupe/actors/facade/home.h>
#include <troupe/actors/facade/process.h>
#include <troupe/actors/troupe/daemon.h>
#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/headroom.h>

namespace troupe::actors {

Result<std::shared_ptr<Process>> Process::make(caf::actor_system* system) {
  TROUPE_RETURN_IF_ERROR(check_headroom(kProcessHeadroom));
  std::shared_ptr<Process> process(new Process);
  if (system == nullptr) {
    process->config_ = std::make_unique<caf::actor_system_config>();
    // `sharing` uses no CPU while idle. The threads neither block nor compute.
    process->config_->set("scheduler.policy", caf::atom("sharing"));
    process->config_->set("scheduler.max-threads", std::size_t{2});
    process->own_ = std::make_unique<caf::actor_system>(*process->config_);
    system = process->own_.get();
  }
  process->system_ = system;
  return process;
}

Result<std::shared_ptr<Process>> Process::open(const std::string& home, caf::actor_system* system) {
  const std::string folder = resolve_home(home);
  // A model that is not in the store needs no home. If a home is needed, the store says why there
  // is none.
  static_cast<void>(prepare_home(folder));
  TROUPE_ASSIGN_OR_RETURN(auto process, make(system));
  TROUPE_ASSIGN_OR_RETURN(process->store, model::Store::open(folder));
  process->home = folder;
  return process;
}

Process::~Process() { close(); }

void Process::open_bulk(bool serves_store) {
  bulk = track(spawn_bulk(system(), {link, store, bulk_bytes_in, true, serves_store}));
  link->attach(Room::kBulk, bulk);
}

Status Process::open_device(int threads, const std::string& accelerator) {
  const int computing = threads > 0 ? threads : usable_cpus();
  TROUPE_RETURN_IF_ERROR(check_headroom({computing + kProcessHeadroom.threads, 0}));
  DeviceOptions options;
  options.threads = threads;
  options.accelerator = accelerator;
  TROUPE_ASSIGN_OR_RETURN(device, spawn_device(system(), options));
  track(device.actor);
  return Status::ok();
}

void Process::close() {
  {
    caf::scoped_actor self(*system_);
    for (const caf::strong_actor_ptr& actor : tracked_) {
      self->send_exit(caf::actor_cast<caf::actor>(actor), caf::exit_reason::user_shutdown);
    }
    for (const caf::strong_actor_ptr& actor : tracked_)
      self->wait_for(caf::actor_cast<caf::actor>(actor));
  }
  tracked_.clear();
  // The actor system waits for the threads of detached actors, which wait for their last handle.
  bulk = nullptr;
  device.actor = nullptr;
  if (link) link->close();
}

}  // namespace troupe::actors
