#include <troupe/actors/attach.h>
#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/local_cluster.h>
#include <troupe/actors/facade/open_model.h>
#include <troupe/actors/facade/remote_cluster.h>
#include <troupe/actors/facade/requests.h>

namespace troupe {
namespace {

struct GeneratorShell {};
using Self = generator_actor::stateful_pointer<GeneratorShell>;

struct GeneratorSetup {
  actors::service_actor service;
  actors::bulk_actor bulk;
  std::shared_ptr<model::Store> store;
};

GenerateOutcomePtr outcome(const Result<GenerateResult>& result) {
  auto out = std::make_shared<GenerateOutcome>();
  if (result) {
    out->result = *result;
  } else {
    out->status = result.status();
  }
  return out;
}

// The state of the actor that stands between the engine and the caller's actor. Each request has
// one.
struct RelayShell {
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs;  // brought by the first token
};
actors::token_sink::behavior_type relay_behavior(
    actors::token_sink::stateful_pointer<RelayShell> self, token_receiver receiver,
    actors::ReadyPtr ready) {
  self->monitor(receiver);
  // When this actor ends, the engine cancels the request.
  self->set_down_handler([self](const caf::down_msg&) { self->quit(); });
  return {
      [=](const actors::TokenPtr& token) {
        if (!token->prompt_logprobs.empty()) self->state.prompt_logprobs = token->prompt_logprobs;
        self->send(receiver, std::make_shared<const TokenEvent>(TokenEvent{
                                 token->id, token->text, token->index, token->logprobs}));
      },
      [=](const actors::FinishedPtr& finished) {
        auto result = actors::make_result(*finished, *ready);
        if (result && result->prompt_logprobs.empty()) {
          result->prompt_logprobs = std::move(self->state.prompt_logprobs);
        }
        self->send(receiver, outcome(result));
        self->quit();
      },
  };
}

void generate(Self self, const std::shared_ptr<const GeneratorSetup>& setup,
              const GenerateRequestPtr& request, const token_receiver& receiver) {
  const auto refuse = [self, receiver](const Status& why) { self->send(receiver, outcome(why)); };
  const Status checked = actors::check_request(*request);
  if (!checked) return refuse(checked);
  const auto open = actors::describe_model(*setup->store, *request, setup->bulk);
  if (!open) return refuse(open.status());
  self->request(setup->service, caf::infinite, actors::open_atom::value, *open)
      .then(
          [=](const actors::ReadyPtr& ready) {
            if (!ready->outcome.is_ok()) return refuse(ready->outcome.status());
            const auto relay = self->spawn(relay_behavior, receiver, ready);
            const actors::SubmitPtr submit = actors::make_submit(*request, ready->deployment);
            self->send(setup->service, actors::submit_atom::value, submit, relay);
          },
          [=](caf::error&) {
            refuse(Status(Code::kUnavailable, "the cluster ended while the model was loaded"));
          });
}

generator_actor::behavior_type generator_behavior(Self self,
                                                  std::shared_ptr<const GeneratorSetup> setup) {
  return {
      [self, setup](generate_atom, const GenerateRequestPtr& request,
                    const token_receiver& receiver) { generate(self, setup, request, receiver); }};
}

}  // namespace

Result<Cluster> attach_local(caf::actor_system& system, const LocalOptions& options) {
  return actors::make_local_cluster(options, &system);
}

Result<Cluster> attach(caf::actor_system& system, const ConnectOptions& options) {
  return actors::make_client_cluster(options, &system);
}

generator_actor make_generator(Cluster& cluster) {
  Cluster::Impl& impl = cluster.impl();
  auto setup = std::make_shared<const GeneratorSetup>(
      GeneratorSetup{impl.service, impl.bulk, impl.process->store});
  // Detached, because describing a model reads its file.
  return impl.process->track(
      impl.process->system().spawn<caf::detached>(generator_behavior, setup));
}

}  // namespace troupe
