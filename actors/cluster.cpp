#include <chrono>
#include <cstdlib>
#include <future>

#include <troupe/actors/engine.h>
#include <troupe/actors/host.h>
#include <troupe/actors/requests.h>
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
        if (!setup->on_token({token->id, token->text, token->index, token->logprobs})) {
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
  TROUPE_ASSIGN_OR_RETURN(actors::OpenModel open,
                          actors::describe_model(*impl.host->store, request.model, request.layers,
                                                 request.kv_type, impl.bulk));
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

Result<GenerateResult> Cluster::generate(const GenerateRequest& request,
                                         const TokenCallback& on_token) {
  TROUPE_RETURN_IF_ERROR(actors::check_request(request));
  TROUPE_ASSIGN_OR_RETURN(const actors::ReadyPtr ready, open(*impl_, request));
  const auto submit = actors::make_submit(request, ready->epoch);
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
  return actors::make_result(*future.get(), *ready);
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

namespace {

Result<std::string> ask_head(Cluster::Impl& impl, const actors::Manage& ask) {
  caf::scoped_actor self(impl.host->system());
  actors::ManagedPtr answer;
  self->request(impl.service, 10s, actors::manage_atom::value,
                std::make_shared<const actors::Manage>(ask))
      .receive([&](const actors::ManagedPtr& managed) { answer = managed; },
               [](const caf::error&) {});
  if (!answer) {
    return Status(Code::kUnavailable, "the " + impl.description + " does not answer");
  }
  if (answer->code != 0) return Status(static_cast<Code>(answer->code), answer->text);
  return answer->text;
}

actors::Manage manage_of(actors::ManageKind kind, const std::string& subject = "") {
  actors::Manage ask;
  ask.kind = static_cast<std::uint8_t>(kind);
  ask.subject = subject;
  return ask;
}

}  // namespace

Result<std::string> Cluster::unload(const std::string& model, bool force) {
  const auto path = impl_->host->store->resolve(model);
  actors::Manage ask = manage_of(actors::ManageKind::kUnload, model);
  ask.force = force;
  if (path) {
    TROUPE_ASSIGN_OR_RETURN(const auto manifest, impl_->host->store->manifest(*path));
    ask.subject = manifest.model;
  } else if (model.rfind("sha256:", 0) == 0) {
    ask.subject = model.substr(7);
  }
  Result<std::string> answer = ask_head(*impl_, ask);
  if (answer.code() != Code::kNotFound) return answer;
  // In the asker's own words: the head was given a hash.
  return Status(Code::kNotFound,
                "the cluster has not loaded '" + model + "'; 'troupe ps' shows what it has");
}

Result<std::string> Cluster::new_token(const TokenOptions& options) {
  actors::Manage ask = manage_of(actors::ManageKind::kKeyNew);
  ask.nodes = options.nodes;
  ask.clients = options.clients;
  ask.uses = static_cast<std::uint32_t>(std::max(0, options.uses));
  ask.lifetime_s = static_cast<std::uint64_t>(std::max<std::int64_t>(0, options.lifetime_s));
  return ask_head(*impl_, ask);
}

Result<std::string> Cluster::keys_json() {
  return ask_head(*impl_, manage_of(actors::ManageKind::kKeyList));
}

Result<std::string> Cluster::revoke_key(const std::string& id_or_name) {
  return ask_head(*impl_, manage_of(actors::ManageKind::kKeyRevoke, id_or_name));
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
