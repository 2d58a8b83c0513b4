#include <memory>
#include <utility>

#include <troupe/actors/facade/absent_client.h>

namespace troupe::actors {
namespace {

// Returns an answer with nothing in it but the reason.
template <class Answer>
std::shared_ptr<const Answer> refused(const Status& why) {
  Answer answer;
  answer.outcome = why;
  return std::make_shared<const Answer>(std::move(answer));
}

service_actor::behavior_type absent_behavior(service_actor::pointer self, const Status& why) {
  return {
      [why](open_atom, const OpenPtr&) { return refused<ModelReady>(why); },
      [self, why](submit_atom, const SubmitPtr& submit, const token_sink& sink) {
        self->send(sink, std::make_shared<const Finished>(failed_request(submit->request, why)));
      },
      [](cancel_atom, std::uint64_t) {},
      [](status_atom) -> caf::result<std::string> {
        return caf::make_error(caf::sec::request_receiver_down);
      },
      [why](manage_atom, const ManagePtr&) { return refused<Managed>(why); },
      [why](job_atom, const JobAskPtr&) { return refused<JobReply>(why); },
      [why](plan_atom, const PlanPtr&) { return refused<Managed>(why); },
  };
}

}  // namespace

service_actor spawn_absent_client(caf::actor_system& system, const Status& why) {
  return system.spawn(absent_behavior, why);
}

}  // namespace troupe::actors
