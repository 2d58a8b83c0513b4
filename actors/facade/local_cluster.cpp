#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/local_cluster.h>
#include <troupe/actors/facade/roles.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe::actors {
namespace {

Result<service_actor> start_local(Process& process, const LocalOptions& options,
                                  task_actor* tasks) {
  process.link = Link::loopback();
  TROUPE_RETURN_IF_ERROR(process.open_device(options.threads, options.device));
  process.open_bulk();
  CoordinatorSetup head;
  head.role = "local";
  TROUPE_ASSIGN_OR_RETURN(auto journal, Journal::in_memory());
  const service_actor service = spawn_head(process, std::move(head), std::move(journal));
  NodeSetup node;
  node.name = "local";
  node.head = process.link->self();
  node.memory_bytes = process.device.memory_bytes.value_or(offered_memory());
  node.on_stop = [](const Status&) {};
  const Member member = spawn_member(process, std::move(node));
  caf::anon_send(member.node, join_atom::value);
  *tasks = member.tasks;
  const Result<std::string> name = member.joined->get_future().get();
  if (!name) return name.status();
  return service;
}

}  // namespace

Result<Cluster> make_local_cluster(const LocalOptions& options, caf::actor_system* system) {
  auto impl = std::make_unique<Cluster::Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->process, Process::open(options.home, system));
  TROUPE_ASSIGN_OR_RETURN(impl->service, start_local(*impl->process, options, &impl->tasks));
  impl->description = "this process";
  return Cluster(std::move(impl));
}

}  // namespace troupe::actors
