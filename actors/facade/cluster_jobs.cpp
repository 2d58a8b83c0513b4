#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include <troupe/actors/facade/process.h>
#include <troupe/actors/facade/requests.h>
#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/troupe.h>

// The facade's jobs. Every question may be asked twice, so that a head that is away for a while is
// no more than a pause.

namespace troupe {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

constexpr auto kAnswerPatience = 20s;
constexpr auto kHeadPatience = 30s;
constexpr auto kPollLongest = 500ms;
// Lines of one shard: few enough that little is done again, many enough that steps are shared.
constexpr std::size_t kLinesOfShard = 8;
constexpr std::size_t kLinesBytes = 256u << 10;  // and no more bytes than that, if it can be

struct Answer {
  std::string text, data;
};

Result<Answer> ask_once(Cluster::Impl& impl, const actors::JobAsk& ask) {
  caf::scoped_actor self(impl.host->system());
  actors::JobReplyPtr reply;
  self->request(impl.service, kAnswerPatience, actors::job_atom::value,
                std::make_shared<const actors::JobAsk>(ask))
      .receive([&](const actors::JobReplyPtr& answer) { reply = answer; },
               [](const caf::error&) {});
  if (!reply) {
    return Status(Code::kUnavailable, "the " + impl.description + " does not answer");
  }
  if (reply->code != 0) return Status(static_cast<Code>(reply->code), reply->text);
  return Answer{reply->text, reply->data};
}

// What `call` answers by the connection that there is; where that was lost, by a new one.
template <class Call>
auto patiently(Cluster::Impl& impl, Call call) {
  const auto began = std::chrono::steady_clock::now();
  auto again = actors::connection_of(impl);
  for (;;) {
    Cluster::Impl& now = again ? again->impl() : impl;
    auto answer = call(now);
    const bool lost = !answer && answer.code() == Code::kUnavailable && !impl.local;
    if (!lost || !actors::is_lost(now)) return answer;
    if (std::chrono::steady_clock::now() - began > kHeadPatience) return answer;
    auto connected = actors::reconnect(impl, kHeadPatience);
    if (!connected) return answer;
    again = *connected;
  }
}

Result<Answer> ask(Cluster::Impl& impl, const actors::JobAsk& message) {
  return patiently(impl, [&](Cluster::Impl& now) { return ask_once(now, message); });
}

actors::JobAsk ask_of(actors::JobAskKind kind, const std::string& id, std::uint64_t number = 0) {
  actors::JobAsk message;
  message.kind = static_cast<std::uint8_t>(kind);
  message.id = id;
  message.number = number;
  return message;
}

Result<json> ask_json(Cluster::Impl& impl, const actors::JobAsk& message) {
  TROUPE_ASSIGN_OR_RETURN(const Answer answer, ask(impl, message));
  json object = json::parse(answer.text, nullptr, false);
  if (object.is_object()) return object;
  return Status(Code::kBadData,
                "the head answered with something that is not an object: are both of one version "
                "of Troupe?");
}

// Shards from `first` on that go into one message.
std::size_t message_end(const std::vector<std::string>& shards, std::size_t first) {
  std::size_t end = first, bytes = 0;
  while (end < shards.size() && (end == first || bytes + shards[end].size() <= kLinesBytes)) {
    bytes += shards[end++].size();
  }
  return end;
}

}  // namespace

namespace actors {

std::string drawn_id() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string id;
  for (std::uint64_t word = net::random_u64(); id.size() < 12; word >>= 4) {
    id += kDigits[word & 15];
  }
  return id;
}

std::shared_ptr<Cluster> connection_of(Cluster::Impl& impl) {
  std::lock_guard lock(impl.again_mutex);
  return impl.again;
}

bool is_lost(Cluster::Impl& impl) {
  // Nobody is told anything of a job without a name, but by a head that is there.
  return ask_once(impl, ask_of(JobAskKind::kShow, "")).code() == Code::kUnavailable;
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

Result<OpenStream> open_stream(Cluster::Impl& impl, const std::string& id) {
  TROUPE_ASSIGN_OR_RETURN(const Answer answer, ask(impl, ask_of(JobAskKind::kStream, id)));
  return wire::decode<OpenStream>(std::as_bytes(std::span<const char>(answer.data)));
}

}  // namespace actors

std::vector<std::string> generate_shards(std::string_view jsonl) {
  std::vector<std::string> shards, lines;
  std::uint64_t count = 0;
  std::size_t bytes = 0;
  const auto close = [&] {
    if (!lines.empty()) shards.push_back(actors::pack_lines(count - lines.size(), lines));
    lines.clear();
    bytes = 0;
  };
  for (std::size_t at = 0; at < jsonl.size();) {
    const std::size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    std::string line(jsonl.substr(at, end - at));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    at = end + 1;
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (lines.size() == kLinesOfShard || bytes + line.size() > kLinesBytes) close();
    bytes += line.size();
    lines.push_back(std::move(line));
    ++count;
  }
  close();
  return shards;
}

namespace {

// The model is loaded first, so that the cluster has it when whoever brought it is gone; the job
// then names it by its hash.
Result<std::string> load_model_of(Cluster::Impl& impl, const std::string& text) {
  TROUPE_ASSIGN_OR_RETURN(const actors::GenerateSpec spec, actors::parse_generate_spec(text));
  GenerateRequest request;
  request.model = spec.open.model;
  request.kv_type = actors::kv_type_of(spec.open.kv);
  request.f16_activations = actors::f16_activations_of(spec.open.kv);
  request.context = spec.open.context;
  TROUPE_ASSIGN_OR_RETURN(request.layers, actors::layer_ranges_of(spec.open));
  TROUPE_ASSIGN_OR_RETURN(const actors::OpenPtr open, patiently(impl, [&](Cluster::Impl& now) {
                            return actors::load_model(now, request);
                          }));
  json object = json::parse(text);
  object["model"] = open->model;
  if (open->has_manifest) object["model_name"] = open->manifest.name;
  return object.dump();
}

}  // namespace

Result<std::string> Cluster::submit(const JobRequest& request) {
  const std::string id = request.id.empty() ? actors::drawn_id() : request.id;
  TROUPE_RETURN_IF_ERROR(actors::check_job_id(id));
  if (request.shards.empty()) {
    return Status(Code::kInvalidArgument, "the job has no shards; give it at least one");
  }
  actors::JobAsk piece = ask_of(actors::JobAskKind::kSubmit, id);
  piece.job_kind = request.kind;
  piece.spec = request.spec;
  piece.shards = static_cast<std::uint32_t>(request.shards.size());
  if (request.kind == actors::kGenerateKind) {
    TROUPE_ASSIGN_OR_RETURN(piece.spec, load_model_of(*impl_, request.spec));
  }
  for (std::size_t first = 0; first < request.shards.size();) {
    const std::size_t end = message_end(request.shards, first);
    piece.number = first;
    piece.inputs.assign(request.shards.begin() + static_cast<std::ptrdiff_t>(first),
                        request.shards.begin() + static_cast<std::ptrdiff_t>(end));
    TROUPE_ASSIGN_OR_RETURN(const json answer, ask_json(*impl_, piece));
    if (answer.value("complete", false)) return id;
    first = end;
  }
  return Status(Code::kInternal, "the head has taken every shard of job " + id +
                                     " and does not say that it is complete; submit it again");
}

Result<JobStatus> Cluster::job(const std::string& id) {
  TROUPE_ASSIGN_OR_RETURN(const json object,
                          ask_json(*impl_, ask_of(actors::JobAskKind::kShow, id)));
  JobStatus status;
  status.id = object.value("id", "");
  status.kind = object.value("kind", "");
  status.state = object.value("state", "");
  status.shards = object.value("shards", 0u);
  status.finished = object.value("finished", 0u);
  if (object.contains("spec")) status.spec = object["spec"].dump();
  if (object.contains("error") && object["error"].is_string()) {
    status.error = Status(Code::kFailedPrecondition, object["error"].get<std::string>());
  }
  return status;
}

Result<JobStatus> Cluster::wait(const std::string& id, int timeout_ms) {
  const auto began = std::chrono::steady_clock::now();
  auto pause = 20ms;
  for (;;) {
    TROUPE_ASSIGN_OR_RETURN(JobStatus status, job(id));
    if (status.over()) return status;
    if (timeout_ms >= 0 &&
        std::chrono::steady_clock::now() - began > std::chrono::milliseconds(timeout_ms)) {
      return Status(Code::kDeadlineExceeded,
                    "job " + id + " is not over after " + std::to_string(timeout_ms) +
                        " ms: " + std::to_string(status.finished) + " of " +
                        std::to_string(status.shards) + " shards are done; it goes on");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::milliseconds>(pause * 2, kPollLongest);
  }
}

Result<bool> Cluster::cancel(const std::string& id) {
  TROUPE_ASSIGN_OR_RETURN(const json object,
                          ask_json(*impl_, ask_of(actors::JobAskKind::kCancel, id)));
  return object.value("cancelled", false);
}

Result<std::string> Cluster::job_output(const std::string& id, std::uint32_t shard) {
  TROUPE_ASSIGN_OR_RETURN(Answer answer,
                          ask(*impl_, ask_of(actors::JobAskKind::kOutput, id, shard)));
  return std::move(answer.data);
}

Result<std::string> Cluster::job_result(const std::string& id) {
  TROUPE_ASSIGN_OR_RETURN(const JobStatus status, job(id));
  if (status.state != "done") {
    return Status(Code::kFailedPrecondition,
                  "job " + id + " has no result: it is " + status.state +
                      (status.error ? "" : " (" + status.error.message() + ")"));
  }
  if (status.kind != actors::kGenerateKind) {
    TROUPE_ASSIGN_OR_RETURN(Answer answer, ask(*impl_, ask_of(actors::JobAskKind::kResult, id)));
    return std::move(answer.data);
  }
  std::string whole;
  for (std::uint32_t shard = 0; shard < status.shards; ++shard) {
    TROUPE_ASSIGN_OR_RETURN(const std::string part, job_output(id, shard));
    whole += part;
  }
  return whole;
}

Result<std::string> Cluster::jobs_json() {
  TROUPE_ASSIGN_OR_RETURN(Answer answer, ask(*impl_, ask_of(actors::JobAskKind::kList, "")));
  return std::move(answer.text);
}

Result<std::string> Cluster::job_lines_json(const std::string& id, std::uint64_t after) {
  TROUPE_ASSIGN_OR_RETURN(Answer answer,
                          ask(*impl_, ask_of(actors::JobAskKind::kLines, id, after)));
  return std::move(answer.text);
}

}  // namespace troupe
