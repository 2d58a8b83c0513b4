#include <thread>

#include <troupe/actors/facade/answers.h>
#include <troupe/actors/facade/head_queries.h>

namespace troupe::actors {

using namespace std::chrono_literals;

namespace {

constexpr auto kAnswerPatience = 20s, kStatusPatience = 5s;

Result<HeadAnswer> ask_once(Cluster::Impl& impl, const JobAsk& ask) {
  caf::scoped_actor self(impl.process->system());
  JobReplyPtr reply;
  self->request(impl.service, kAnswerPatience, job_atom::value, std::make_shared<const JobAsk>(ask))
      .receive([&](const JobReplyPtr& answer) { reply = answer; }, [](const caf::error&) {});
  if (!reply) {
    return Status(Code::kUnavailable, "the " + impl.description + " does not answer");
  }
  if (!reply->outcome.is_ok()) return reply->outcome.status();
  return HeadAnswer{reply->outcome.text, reply->data};
}

}  // namespace

std::shared_ptr<Cluster> connection_of(Cluster::Impl& impl) {
  std::lock_guard lock(impl.again_mutex);
  return impl.again;
}

bool is_lost(Cluster::Impl& impl) {
  // No job has an empty name. Any answer to this question shows that the head is there.
  return ask_once(impl, job_ask(JobAskKind::kShow, "")).code() == Code::kUnavailable;
}

Result<std::shared_ptr<Cluster>> reconnect(Cluster::Impl& impl, std::chrono::seconds patience) {
  const auto began = std::chrono::steady_clock::now();
  Status why;
  do {
    std::this_thread::sleep_for(200ms);
    auto connected = Cluster::connect(impl.options);
    if (connected) {
      std::lock_guard lock(impl.again_mutex);
      impl.again = std::make_shared<Cluster>(std::move(*connected));
      return impl.again;
    }
    why = connected.status();
  } while (std::chrono::steady_clock::now() - began < patience);
  return why;
}

Result<ClusterStatus> ask_status(Cluster::Impl& impl) {
  TROUPE_RETURN_IF_ERROR(impl.may_ask);
  caf::scoped_actor self(impl.process->system());
  std::string text;
  self->request(impl.service, kStatusPatience, status_atom::value)
      .receive([&](const std::string& answer) { text = answer; }, [](const caf::error&) {});
  if (text.empty()) {
    return Status(Code::kUnavailable, "the " + impl.description + " does not answer");
  }
  return read_answer<ClusterStatus>(text);
}

Result<OpenStream> open_stream(Cluster::Impl& impl, const std::string& id) {
  TROUPE_ASSIGN_OR_RETURN(const HeadAnswer answer,
                          ask_head(impl, job_ask(JobAskKind::kStream, id)));
  return wire::decode<OpenStream>(std::as_bytes(std::span<const char>(answer.data)));
}

Result<HeadAnswer> ask_head(Cluster::Impl& impl, const JobAsk& message) {
  return patiently(impl, [&](Cluster::Impl& now) { return ask_once(now, message); });
}

JobAsk job_ask(JobAskKind kind, const std::string& id, std::uint64_t number) {
  JobAsk message;
  message.kind = static_cast<std::uint8_t>(kind);
  message.id = id;
  message.number = number;
  return message;
}

}  // namespace troupe::actors
