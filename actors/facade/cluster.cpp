#include <chrono>
#include <future>

#include <troupe/actors/facade/answers.h>
#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/head_queries.h>
#include <troupe/actors/facade/local_cluster.h>
#include <troupe/actors/facade/open_model.h>
#include <troupe/actors/facade/remote_cluster.h>
#include <troupe/actors/facade/requests.h>
#include <troupe/actors/jobs/job_id.h>
#include <troupe/runtime/clock.h>

namespace troupe {

using namespace std::chrono_literals;

namespace {

constexpr auto kPlanPatience = 60s;  // every node is measured

// What is known about an answer, from all connections that delivered parts of it.
struct Progress {
  std::vector<model::TokenId> ids;
  std::string text;  // the text of the events that came
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs;  // brought by the first event
  std::size_t told_from = 0;  // events before this index are not passed on
  TokenCallback on_token;
  bool cancelled = false;
  std::uint32_t arithmetic = 0;  // of the first deployment; 0 until one is open
};

// Takes the events of one request and passes them to the caller's function.
struct SinkShell {};
struct SinkSetup {
  actors::service_actor service;
  std::uint64_t request = 0;
  std::shared_ptr<Progress> progress;
  std::promise<actors::FinishedPtr> finished;
};

actors::token_sink::behavior_type sink_behavior(
    actors::token_sink::stateful_pointer<SinkShell> self, std::shared_ptr<SinkSetup> setup) {
  return {
      [self, setup](const actors::TokenPtr& token) {
        Progress& progress = *setup->progress;
        if (!token->prompt_logprobs.empty()) progress.prompt_logprobs = token->prompt_logprobs;
        // Events that came before the head was lost come again.
        if (progress.cancelled || token->index != progress.ids.size()) return;
        progress.ids.push_back(token->id);
        progress.text += token->text;
        if (!progress.on_token || token->index < progress.told_from) return;
        if (!progress.on_token({token->id, token->text, token->index, token->logprobs})) {
          progress.cancelled = true;
          self->send(setup->service, actors::cancel_atom::value, setup->request);
        }
      },
      [self, setup](const actors::FinishedPtr& finished) {
        setup->finished.set_value(finished);
        self->quit();
      },
  };
}

}  // namespace

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::Cluster(Cluster&&) noexcept = default;
Cluster& Cluster::operator=(Cluster&&) noexcept = default;
Cluster::~Cluster() = default;

Result<Cluster> Cluster::local(const LocalOptions& options) {
  return actors::make_local_cluster(options, nullptr);
}

Result<Cluster> Cluster::connect(const ConnectOptions& options) {
  return actors::make_client_cluster(options, nullptr);
}

namespace {

// The model and the request that are asked for.
struct Asked {
  GenerateRequest model;  // names the model and its split
  actors::Submit submit;
  bool continues = false;  // the answer has begun: it may go on with any split
};

struct Outcome {
  actors::FinishedPtr finished;
  actors::ReadyPtr ready;
  std::int64_t open_us = 0, total_us = 0;  // the time until the model was open, and until the end
};

// Opens the model. The split that was asked for may need nodes that are gone by now: an answer that
// has begun then goes on with any other, which gives the same text.
Result<actors::ReadyPtr> open_for(Cluster::Impl& impl, Asked& asked) {
  const auto open = [&]() -> Result<actors::ReadyPtr> {
    TROUPE_ASSIGN_OR_RETURN(const actors::OpenPtr model,
                            actors::describe_model(*impl.process->store, asked.model, impl.bulk));
    return actors::open_model(impl, model);
  };
  auto ready = open();
  const bool unfit =
      ready.code() == Code::kInvalidArgument || ready.code() == Code::kResourceExhausted;
  if (ready || !unfit || !asked.continues || asked.model.layers.empty()) return ready;
  asked.model.layers.clear();
  return open();
}

// Tries to get the answer over one connection, continuing from what is known about it. An error
// other than kDeadlineExceeded means that the request was not submitted.
Result<Outcome> attempt(Cluster::Impl& impl, Asked& asked,
                        const std::shared_ptr<Progress>& progress) {
  const std::int64_t began_us = monotonic_us();
  TROUPE_ASSIGN_OR_RETURN(const actors::ReadyPtr ready, open_for(impl, asked));
  const std::int64_t open_us = monotonic_us() - began_us;
  auto submit = std::make_shared<actors::Submit>(asked.submit);
  submit->request = actors::next_request_id();
  submit->deployment = ready->deployment;
  // The newest id is left out: if it was the last one, the end of the answer is still to come.
  if (progress->ids.size() > submit->answer_ids.size() + 1) {
    submit->answer_ids.assign(progress->ids.begin(), progress->ids.end() - 1);
  }
  if (!progress->prompt_logprobs.empty()) submit->prompt_logprobs = 0;  // they are there
  // A head that was replaced by a release of another arithmetic version ends the answer.
  if (progress->arithmetic == 0 || progress->ids.empty()) progress->arithmetic = ready->arithmetic;
  if (progress->arithmetic != ready->arithmetic) {
    submit->answer_ids = progress->ids;
    submit->arithmetic = progress->arithmetic;
  }
  const auto setup = std::make_shared<SinkSetup>();
  setup->service = impl.service;
  setup->request = submit->request;
  setup->progress = progress;
  auto future = setup->finished.get_future();
  const auto sink = impl.process->system().spawn(sink_behavior, setup);
  caf::anon_send(impl.service, actors::submit_atom::value, actors::SubmitPtr(submit), sink);
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(submit->deadline_ms) + 5s;
  bool stopped = false;
  while (future.wait_for(50ms) != std::future_status::ready) {
    if (!stopped && asked.model.stop_asked && asked.model.stop_asked()) {
      stopped = true;
      caf::anon_send(impl.service, actors::cancel_atom::value, submit->request);
    }
    if (std::chrono::steady_clock::now() < until) continue;
    caf::anon_send_exit(sink, caf::exit_reason::user_shutdown);
    return Status(Code::kDeadlineExceeded,
                  "the cluster did not end the request within its "
                  "deadline; is the head still running?");
  }
  return Outcome{future.get(), ready, open_us, monotonic_us() - began_us};
}

Result<GenerateResult> result_of(const Outcome& outcome, const Progress& progress) {
  auto result = actors::make_result(*outcome.finished, *outcome.ready);
  if (result && result->prompt_logprobs.empty()) {
    result->prompt_logprobs = progress.prompt_logprobs;
  }
  if (result && result->trace) {
    result->trace->open_us = outcome.open_us;
    result->trace->total_us = outcome.total_us;
  }
  return result;
}

// Called when the head is lost for good: returns the part of the answer that came, and how to get
// the rest.
Result<GenerateResult> cut_off(const Status& why, const std::string& stream,
                               const Progress& progress) {
  const Status error(why.code(), why.message() + "; the answer is open, with the id " + stream);
  if (progress.ids.empty()) return error;
  GenerateResult result;
  result.text = progress.text;
  result.token_ids = progress.ids;
  result.finish_reason = "error";
  result.error = error;
  result.stream = stream;
  return result;
}

Result<GenerateResult> have_answer(Cluster::Impl& impl, Asked asked,
                                   const std::shared_ptr<Progress>& progress) {
  std::shared_ptr<Cluster> again = actors::connection_of(impl);
  bool open = false;  // whether the head knows the answer by its id
  for (;;) {
    Cluster::Impl& now = again ? again->impl() : impl;
    const Result<Outcome> outcome = attempt(now, asked, progress);
    const Status why = outcome ? outcome->finished->outcome.status() : outcome.status();
    open = open || outcome.is_ok();
    const bool lost = !impl.local && why.code() == Code::kUnavailable && actors::is_lost(now);
    if (!lost) {
      return outcome ? result_of(*outcome, *progress) : Result<GenerateResult>(why);
    }
    // The head may be started again: the answer then continues from where it was.
    auto connected = actors::reconnect(impl, actors::RepeatClock::kRepeatPatience);
    if (!connected) {
      return open ? cut_off(why, asked.submit.stream, *progress) : Result<GenerateResult>(why);
    }
    again = *connected;
    asked.continues = asked.continues || open;
  }
}

}  // namespace

Result<GenerateResult> Cluster::generate(const GenerateRequest& request,
                                         const TokenCallback& on_token) {
  TROUPE_RETURN_IF_ERROR(actors::check_request(request));
  Asked asked{request, *actors::make_submit(request, 0), false};
  if (!impl_->local) asked.submit.stream = actors::drawn_id();
  const auto progress = std::make_shared<Progress>();
  progress->ids = request.answer_ids;
  progress->on_token = on_token;
  return have_answer(*impl_, asked, progress);
}

namespace {

// Returns the tokens of an open answer that are not passed on again: those that the request
// brought, or those before `from`, as far as the journal has them, whichever are more. They are not
// computed twice. An answer of another arithmetic version is passed on from its beginning, because
// the head only repeats it.
std::vector<model::TokenId> told_before(const actors::OpenStream& known, std::size_t from) {
  if (known.submit.arithmetic != 0) return {};
  const std::size_t count = std::min(from, known.tokens.size());
  if (known.submit.answer_ids.size() >= count) return known.submit.answer_ids;
  return {known.tokens.begin(), known.tokens.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

Result<GenerateResult> Cluster::resume(const std::string& stream, std::size_t from,
                                       const TokenCallback& on_token) {
  TROUPE_ASSIGN_OR_RETURN(const actors::OpenStream known, actors::open_stream(*impl_, stream));
  Asked asked;
  asked.model.model = "model:" + known.open.model;
  asked.model.kv_type = actors::kv_type_of(known.open.kv);
  asked.model.f16_activations = actors::f16_activations_of(known.open.kv);
  asked.model.context = known.open.context;
  TROUPE_ASSIGN_OR_RETURN(asked.model.layers, actors::layer_ranges_of(known.open));
  asked.submit = known.submit;
  asked.continues = true;
  const auto progress = std::make_shared<Progress>();
  progress->ids = told_before(known, from);
  progress->told_from = from;
  progress->on_token = on_token;
  return have_answer(*impl_, asked, progress);
}

Result<ClusterStatus> Cluster::status() { return actors::ask_status(*impl_); }

namespace {

Result<std::string> ask_manager(Cluster::Impl& impl, const actors::Manage& ask) {
  caf::scoped_actor self(impl.process->system());
  actors::ManagedPtr answer;
  self->request(impl.service, 10s, actors::manage_atom::value,
                std::make_shared<const actors::Manage>(ask))
      .receive([&](const actors::ManagedPtr& managed) { answer = managed; },
               [](const caf::error&) {});
  if (!answer) {
    return Status(Code::kUnavailable, "the " + impl.description + " does not answer");
  }
  return answer->outcome.answer();
}

actors::Manage manage_of(actors::ManageKind kind, const std::string& subject = "") {
  actors::Manage ask;
  ask.kind = static_cast<std::uint8_t>(kind);
  ask.subject = subject;
  return ask;
}

}  // namespace

Result<Plan> Cluster::plan(const PlanRequest& request) {
  auto ask = std::make_shared<actors::PlanModel>();
  TROUPE_ASSIGN_OR_RETURN(
      ask->open, actors::describe_model(*impl_->process->store, request.model, request.layers,
                                        actors::kv_code(request.kv_type), impl_->bulk));
  ask->context = request.context;
  ask->nodes = request.nodes;
  caf::scoped_actor self(impl_->process->system());
  actors::ManagedPtr answer;
  self->request(impl_->service, kPlanPatience, actors::plan_atom::value, actors::PlanPtr(ask))
      .receive([&](const actors::ManagedPtr& managed) { answer = managed; },
               [](const caf::error&) {});
  if (!answer) {
    return Status(Code::kUnavailable, "the " + impl_->description + " does not answer");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string text, answer->outcome.answer());
  return actors::read_answer<Plan>(text);
}

Result<UnloadedModel> Cluster::unload(const std::string& model, bool force) {
  const auto path = impl_->process->store->resolve(model);
  actors::Manage ask = manage_of(actors::ManageKind::kUnload, model);
  ask.force = force;
  if (path) {
    TROUPE_ASSIGN_OR_RETURN(const auto manifest, impl_->process->store->manifest(*path));
    ask.subject = "model:" + manifest.model;
  }
  const Result<std::string> answer = ask_manager(*impl_, ask);
  if (answer) return actors::read_answer<UnloadedModel>(*answer);
  if (answer.code() != Code::kNotFound) return answer.status();
  // The head got a hash and would show it, but the caller knows the model by this name.
  return Status(Code::kNotFound,
                "the cluster has not loaded '" + model + "'; 'troupe ps' shows what it has");
}

Result<DrainedNode> Cluster::drain(const std::string& node, bool undo) {
  actors::Manage ask = manage_of(actors::ManageKind::kDrain, node);
  ask.force = undo;
  TROUPE_ASSIGN_OR_RETURN(const std::string answer, ask_manager(*impl_, ask));
  return actors::read_answer<DrainedNode>(answer);
}

Result<EventList> Cluster::events() {
  TROUPE_ASSIGN_OR_RETURN(const std::string answer,
                          ask_manager(*impl_, manage_of(actors::ManageKind::kEvents)));
  return actors::read_answer<EventList>(answer);
}

Result<NewToken> Cluster::new_token(const TokenOptions& options) {
  actors::Manage ask = manage_of(actors::ManageKind::kKeyNew);
  const auto role = net::token_role(options.role);
  if (!role) {
    return Status(Code::kInvalidArgument,
                  "a token is for the role node, user, server, operator or admin, not '" +
                      options.role + "'");
  }
  ask.role = static_cast<std::uint8_t>(*role);
  ask.uses = static_cast<std::uint32_t>(std::max(0, options.uses));
  ask.lifetime_s = static_cast<std::uint64_t>(std::max<std::int64_t>(0, options.lifetime_s));
  TROUPE_ASSIGN_OR_RETURN(const std::string answer, ask_manager(*impl_, ask));
  return actors::read_answer<NewToken>(answer);
}

Result<KeyList> Cluster::keys() {
  TROUPE_ASSIGN_OR_RETURN(const std::string answer,
                          ask_manager(*impl_, manage_of(actors::ManageKind::kKeyList)));
  return actors::read_answer<KeyList>(answer);
}

Result<RevokedKey> Cluster::revoke_key(const std::string& id_or_name) {
  TROUPE_ASSIGN_OR_RETURN(
      const std::string answer,
      ask_manager(*impl_, manage_of(actors::ManageKind::kKeyRevoke, id_or_name)));
  return actors::read_answer<RevokedKey>(answer);
}

Result<ApprovedKey> Cluster::approve_key(const std::string& id_or_name) {
  TROUPE_ASSIGN_OR_RETURN(
      const std::string answer,
      ask_manager(*impl_, manage_of(actors::ManageKind::kKeyApprove, id_or_name)));
  return actors::read_answer<ApprovedKey>(answer);
}

Status Cluster::stop(bool everywhere) {
  if (impl_->local) {
    return Status(Code::kFailedPrecondition,
                  "this process is not a daemon; there is nothing to stop");
  }
  actors::Manage ask = manage_of(actors::ManageKind::kStop);
  ask.force = everywhere;
  const Result<std::string> answer = ask_manager(*impl_, ask);
  // A daemon that ends may do so before it answers.
  if (!answer && answer.code() != Code::kUnavailable) return answer.status();
  // The daemon has ended when it no longer answers.
  for (int i = 0; i < 50; ++i) {
    if (!actors::ask_status(*impl_)) return Status::ok();
    std::this_thread::sleep_for(100ms);
  }
  return Status(Code::kDeadlineExceeded, "the " + impl_->description +
                                             " was asked to stop but "
                                             "still answers after 5 s");
}

std::string Cluster::description() const { return impl_->description; }

}  // namespace troupe
