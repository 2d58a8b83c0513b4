#include <troupe/actors/facade/roles.h>
#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/jobs/task_actor.h>

namespace troupe::actors {

service_actor spawn_head(Process& process, CoordinatorSetup setup,
                         std::shared_ptr<Journal> journal) {
  Link& link = *process.link;
  setup.owners = std::make_shared<Owners>();
  const jobs_actor jobs =
      process.track(spawn_jobs(process.system(), {std::move(journal), process.link, setup.owners}));
  link.attach(Room::kJobs, jobs);
  setup.link = process.link;
  setup.store = process.store;
  setup.bulk = process.bulk;
  setup.jobs = jobs;
  const auto coordinator = process.track(spawn_coordinator(process.system(), std::move(setup)));
  link.attach(Room::kCoordinator, coordinator);
  const service_actor service(coordinator);
  caf::anon_send(jobs, service_atom::value, service);
  return service;
}

Member spawn_member(Process& process, NodeSetup setup) {
  Link& link = *process.link;
  Member member;
  member.joined = std::make_shared<std::promise<Result<std::string>>>();
  member.tasks = process.track(spawn_tasks(process.system(), {process.link, setup.head}));
  link.attach(Room::kTasks, member.tasks);
  setup.link = process.link;
  setup.store = process.store;
  setup.bulk = process.bulk;
  setup.device = process.device.actor;
  setup.threads = process.device.threads;
  setup.isa = process.device.isa;
  setup.tasks = member.tasks;
  const auto board = std::make_shared<TroubleBoard>();
  setup.troubles = board;
  process.track(spawn_trouble_watch(process.system(), setup.home,
                                    process.device.actor ? process.device.threads : 0, board));
  setup.bulk_bytes_in = process.bulk_bytes_in;
  setup.on_joined = [joined = member.joined](Result<std::string> name) {
    joined->set_value(std::move(name));
  };
  member.node = process.track(spawn_node(process.system(), std::move(setup)));
  link.attach(Room::kNode, member.node);
  return member;
}

}  // namespace troupe::actors
