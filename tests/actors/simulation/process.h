#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <caf/scheduler/test_coordinator.hpp>

#include <troupe/actors/actors.h>
#include <troupe/actors/facade/key_search.h>
#include <troupe/actors/link.h>
#include <troupe/actors/node/device_actor.h>

// One process of a simulated cluster: an actor system of its own under CAF's testing scheduler, the
// actors in it, and the stand-in for its device's thread.

namespace troupe::actors::simulation {

using sim_device = device_actor::extend<caf::reacts_to<tick_atom>>;
struct SimDeviceState {
  std::deque<DeviceJobPtr> jobs;
  std::mt19937_64 random;
};
// Runs jobs one after the other; each takes some time.
inline sim_device::behavior_type sim_device_behavior(
    sim_device::stateful_pointer<SimDeviceState> self, Device* device, std::uint64_t seed,
    std::int64_t job_us) {
  self->state.random.seed(seed);
  const auto soon = [self, job_us] {
    const auto us = 200 + self->state.random() % static_cast<std::uint64_t>(job_us);
    self->delayed_send(self, std::chrono::microseconds(us), tick_atom::value);
  };
  return {
      [self, soon](const DeviceJobPtr& job) {
        self->state.jobs.push_back(job);
        if (self->state.jobs.size() == 1) soon();
      },
      [self, soon, device](tick_atom) {
        const DeviceJobPtr job = std::move(self->state.jobs.front());
        (*job)(*device);
        self->state.jobs.pop_front();
        if (!self->state.jobs.empty()) soon();
      },
  };
}

// A client's search for the key of the head's own user, as in facade/remote_cluster.cpp.
struct ClientSearch {
  // How long a client looks for a key that is not refused.
  static constexpr std::int64_t kPatienceUs = 5'000'000;

  explicit ClientSearch(std::int64_t now_us)
      : until_us(now_us + kPatienceUs), decider(now_us + kPatienceUs) {}
  std::int64_t until_us;
  KeySearch decider;
  net::Token tried;                         // the key of the connection that it has now
  std::optional<std::int64_t> looks_at_us;  // the time at which it looks for another key
  std::string refusal;                      // why the last key was refused
};

// One process: actors, and a link to the others.
struct Process {
  explicit Process(caf::actor_system_config& config, std::int64_t now_us)
      : system(std::make_unique<caf::actor_system>(config)),
        scheduler(&dynamic_cast<caf::scheduler::test_coordinator&>(system->scheduler())) {
    system->await_actors_before_shutdown(false);
    set_clock(now_us);
  }
  void set_clock(std::int64_t now_us) {
    using time_point = caf::actor_clock::time_point;
    scheduler->clock().current_time = time_point(
        std::chrono::duration_cast<time_point::duration>(std::chrono::microseconds(now_us)));
  }
  std::optional<std::int64_t> next_us() const {
    const auto& due = scheduler->clock().schedule();
    if (due.empty()) return std::nullopt;
    return std::chrono::duration_cast<std::chrono::microseconds>(
               due.begin()->first.time_since_epoch() + std::chrono::nanoseconds(999))
        .count();
  }
  void advance(std::int64_t now_us) {
    const auto now = scheduler->clock().now().time_since_epoch();
    scheduler->advance_time(std::chrono::microseconds(now_us) - now);
  }
  template <class Handle>
  Handle track(Handle handle) {
    actors.push_back(caf::actor_cast<caf::strong_actor_ptr>(handle));
    return handle;
  }
  // Ends the process without a message to the others. Returns false if one of its actors cannot
  // end.
  bool end() {
    if (link) link->close();
    for (const auto& actor : actors) {
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    }
    actors.clear();
    node = nullptr;
    coordinator = nullptr;
    client = nullptr;
    bulk = nullptr;
    device = nullptr;
    while (scheduler->try_run_once()) {
    }
    const std::size_t running = system->registry().running();
    link.reset();
    return running == 0;
  }

  std::unique_ptr<caf::actor_system> system;
  caf::scheduler::test_coordinator* scheduler;
  std::shared_ptr<Link> link;
  std::vector<caf::strong_actor_ptr> actors;
  node_actor node;
  coordinator_actor coordinator;
  client_actor client;
  bulk_actor bulk;
  device_actor device;
  bool stopped = false;                // the cluster told it to end
  std::string why;                     // why the cluster told it to end
  bool connected = false;              // a client that was welcomed
  bool refused = false;                // a client that will not be welcomed
  std::optional<ClientSearch> search;  // of a client
};

}  // namespace troupe::actors::simulation
