#include <chrono>
#include <cstdlib>
#include <future>

#include <troupe/actors/engine.h>
#include <troupe/actors/host.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/file.h>

namespace troupe {

using namespace std::chrono_literals;

std::string resolve_home(const std::string& home) {
  if (!home.empty()) return home;
  if (const char* set = std::getenv("TROUPE_HOME"); set != nullptr && *set != '\0') return set;
  const char* user = std::getenv("HOME");
  return std::string(user != nullptr && *user != '\0' ? user : "/root") + "/.troupe";
}

namespace {

constexpr auto kOpenPatience = 10min;  // fetching and loading a model
constexpr int kDefaultDeadlineMs = 600'000;

Result<std::shared_ptr<actors::Host>> make_host(const std::string& home_option,
                                                caf::actor_system* system) {
  const std::string home = resolve_home(home_option);
  TROUPE_RETURN_IF_ERROR(actors::prepare_home(home));
  auto host = actors::Host::make(system);
  TROUPE_ASSIGN_OR_RETURN(host->store, model::Store::open(home));
  return host;
}

// Takes the events of one request and calls back.
struct SinkShell {};
struct SinkSetup {
  actors::service_actor service;
  std::uint64_t request = 0;
  TokenCallback on_token;
  std::promise<actors::FinishedPtr> finished;
  bool cancelled = false;
};

actors::token_sink::behavior_type sink_behavior(
    actors::token_sink::stateful_pointer<SinkShell> self, std::shared_ptr<SinkSetup> setup) {
  return {
      [self, setup](const actors::TokenPtr& token) {
        if (setup->cancelled || !setup->on_token) return;
        if (!setup->on_token({token->id, token->text, token->index})) {
          setup->cancelled = true;
          self->send(setup->service, actors::cancel_atom::value, setup->request);
        }
      },
      [self, setup](const actors::FinishedPtr& finished) {
        setup->finished.set_value(finished);
        self->quit();
      },
  };
}

Result<actors::ReadyPtr> open(Cluster::Impl& impl, const GenerateRequest& request) {
  TROUPE_ASSIGN_OR_RETURN(
      actors::OpenModel open,
      actors::describe_model(*impl.host, request.model, request.layers, impl.bulk));
  caf::scoped_actor self(impl.host->system());
  actors::ReadyPtr ready;
  std::string trouble;
  self->request(impl.service, kOpenPatience, actors::open_atom::value,
                std::make_shared<const actors::OpenModel>(std::move(open)))
      .receive([&](const actors::ReadyPtr& answer) { ready = answer; },
               [&](const caf::error& error) { trouble = impl.host->system().render(error); });
  if (!ready) {
    return Status(Code::kUnavailable,
                  "the cluster did not answer while the model was loaded (" + trouble + ")");
  }
  if (ready->code != 0) return Status(static_cast<Code>(ready->code), ready->text);
  return ready;
}

std::shared_ptr<actors::Submit> make_submit(const GenerateRequest& request, std::uint64_t epoch) {
  auto submit = std::make_shared<actors::Submit>();
  submit->request = actors::next_request_id();
  submit->epoch = epoch;
  submit->prompt = request.prompt;
  for (const auto& message : request.messages) {
    submit->messages.push_back({message.role, message.content});
  }
  submit->prompt_ids = request.prompt_ids;
  submit->system = request.system;
  submit->raw = request.raw;
  submit->max_tokens = static_cast<std::uint32_t>(request.max_tokens);
  submit->sampling = request.sampling;
  submit->stop = request.stop;
  submit->context = request.context;
  submit->deadline_ms = static_cast<std::uint32_t>(request.deadline_ms > 0 ? request.deadline_ms
                                                                           : kDefaultDeadlineMs);
  return submit;
}

}  // namespace

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::Cluster(Cluster&&) noexcept = default;
Cluster& Cluster::operator=(Cluster&&) noexcept = default;
Cluster::~Cluster() = default;

Result<Cluster> Cluster::local(const LocalOptions& options) {
  auto impl = std::make_unique<Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->host, make_host(options.home, nullptr));
  TROUPE_ASSIGN_OR_RETURN(impl->service, actors::start_local(*impl->host, options));
  impl->description = "this process";
  return Cluster(std::move(impl));
}

Result<Cluster> Cluster::connect(const ConnectOptions& options) {
  auto impl = std::make_unique<Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->host, make_host(options.home, nullptr));
  TROUPE_ASSIGN_OR_RETURN(
      impl->service, actors::start_client(*impl->host, options, &impl->description, &impl->bulk));
  impl->local = false;
  return Cluster(std::move(impl));
}

Result<GenerateResult> Cluster::generate(const GenerateRequest& request,
                                         const TokenCallback& on_token) {
  if (request.max_tokens < 1) {
    return Status(Code::kInvalidArgument, "max_tokens is " + std::to_string(request.max_tokens) +
                                              "; ask for at least one token");
  }
  TROUPE_RETURN_IF_ERROR(model::validate(request.sampling));
  TROUPE_ASSIGN_OR_RETURN(const actors::ReadyPtr ready, open(*impl_, request));
  const auto submit = make_submit(request, ready->epoch);
  const auto setup = std::make_shared<SinkSetup>();
  setup->service = impl_->service;
  setup->request = submit->request;
  setup->on_token = on_token;
  auto future = setup->finished.get_future();
  const auto sink = impl_->host->system().spawn(sink_behavior, setup);
  caf::anon_send(impl_->service, actors::submit_atom::value, actors::SubmitPtr(submit), sink);
  const auto patience = std::chrono::milliseconds(submit->deadline_ms) + 5s;
  if (future.wait_for(patience) != std::future_status::ready) {
    caf::anon_send_exit(sink, caf::exit_reason::user_shutdown);
    return Status(Code::kDeadlineExceeded,
                  "the cluster did not end the request within its "
                  "deadline; is the head still running?");
  }
  const actors::FinishedPtr finished = future.get();
  if (finished->finish_reason == "error" && finished->token_ids.empty()) {
    return Status(static_cast<Code>(finished->code), finished->error);
  }
  GenerateResult result;
  result.text = finished->text;
  result.token_ids = finished->token_ids;
  result.prompt_token_ids = finished->prompt_ids;
  result.finish_reason = finished->finish_reason;
  if (finished->code != 0)
    result.error = Status(static_cast<Code>(finished->code), finished->error);
  result.prompt_tok_s = finished->prompt_tok_s;
  result.decode_tok_s = finished->decode_tok_s;
  result.ttft_ms = finished->ttft_ms;
  for (const auto& stage : ready->stages) result.nodes.push_back({stage.node, stage.layers});
  return result;
}

Result<std::string> Cluster::status_json() {
  caf::scoped_actor self(impl_->host->system());
  std::string json;
  self->request(impl_->service, 5s, actors::status_atom::value)
      .receive([&](const std::string& answer) { json = answer; }, [](const caf::error&) {});
  if (json.empty()) {
    return Status(Code::kUnavailable, "the " + impl_->description + " does not answer");
  }
  return json;
}

Status Cluster::stop(bool everywhere) {
  if (impl_->local) {
    return Status(Code::kFailedPrecondition, "this process is no daemon; there is nothing to stop");
  }
  caf::anon_send(impl_->service, actors::stop_atom::value, everywhere);
  // The answer is the end of the connection; a query that stays unanswered shows it.
  for (int i = 0; i < 50; ++i) {
    if (!status_json()) return Status::ok();
    std::this_thread::sleep_for(100ms);
  }
  return Status(Code::kDeadlineExceeded, "the " + impl_->description +
                                             " was asked to stop but "
                                             "still answers after 5 s");
}

std::string Cluster::description() const { return impl_->description; }

}  // namespace troupe
