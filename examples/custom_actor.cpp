// An actor of your own, in your own actor system, that asks Troupe's engine and gets tokens as
// mail. usage: custom_actor MODEL "prompt" [TOKEN@HOST:PORT]
#include <cstdio>

#include <troupe/actors/attach.h>

namespace {

struct ReporterState {
  int tokens = 0;
};

// Prints the tokens as they come and tells `whoever waits` when the answer is complete.
troupe::token_receiver::behavior_type reporter(
    troupe::token_receiver::stateful_pointer<ReporterState> self, caf::actor waiting) {
  return {
      [self](const troupe::TokenEventPtr& token) {
        ++self->state.tokens;
        std::fputs(token->text.c_str(), stdout);
        std::fflush(stdout);
      },
      [self, waiting](const troupe::GenerateOutcomePtr& outcome) {
        const troupe::Status& error = outcome->status ? outcome->result.error : outcome->status;
        if (!error) std::fprintf(stderr, "\n%s\n", error.message().c_str());
        std::printf("\n%d tokens as messages, finished: %s\n", self->state.tokens,
                    error ? outcome->result.finish_reason.c_str() : "error");
        caf::anon_send(waiting, error.is_ok());
        self->quit();
      },
  };
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: custom_actor MODEL PROMPT [TOKEN@HOST:PORT]\n");
    return 2;
  }
  caf::actor_system_config config;
  caf::actor_system system(config);
  troupe::ConnectOptions remote;
  if (argc > 3) remote.cluster = argv[3];
  auto cluster = argc > 3 ? troupe::attach(system, remote) : troupe::attach_local(system, {});
  if (!cluster) {
    std::fprintf(stderr, "%s\n", cluster.message().c_str());
    return 1;
  }
  troupe::generator_actor generator = troupe::make_generator(*cluster);
  auto request = std::make_shared<troupe::GenerateRequest>();
  request->model = argv[1];
  request->prompt = argv[2];
  request->max_tokens = 48;
  caf::scoped_actor self(system);
  auto mine = system.spawn(reporter, caf::actor_cast<caf::actor>(self));
  caf::anon_send(generator, troupe::generate_atom::value, troupe::GenerateRequestPtr(request),
                 mine);
  bool ok = false;
  self->receive([&](bool success) { ok = success; });
  return ok ? 0 : 1;
}
