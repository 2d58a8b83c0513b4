#include <chrono>
#include <thread>

#include <troupe/actors/facade/answers.h>
#include <troupe/actors/facade/head_queries.h>
#include <troupe/actors/facade/open_model.h>
#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/jobs/job_id.h>
#include <troupe/actors/troupe.h>

// The facade's jobs. Every question may be asked twice, so that a head that is away for a while
// causes only a pause.

namespace troupe {

using namespace std::chrono_literals;

namespace {

constexpr auto kPollLongest = 500ms;
// The number of lines in a shard: few, so that little has to be repeated after a loss, but enough
// to share steps.
constexpr std::size_t kLinesOfShard = 8;
// A shard has no more bytes than this, unless it is a single longer line.
constexpr std::size_t kLinesBytes = 256u << 10;

// Returns the end of the shards that go, from `first` on, into one message.
std::size_t message_end(const std::vector<std::string>& shards, std::size_t first) {
  std::size_t end = first, bytes = 0;
  while (end < shards.size() && (end == first || bytes + shards[end].size() <= kLinesBytes)) {
    bytes += shards[end++].size();
  }
  return end;
}

// Calls `take` with each line, without its end, and with whether the line holds a prompt. (Empty
// lines do not.) Stops when `take` returns false.
template <class Take>
void each_line(std::string_view jsonl, Take take) {
  for (std::size_t at = 0; at < jsonl.size();) {
    const std::size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    std::string_view line = jsonl.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!take(line, line.find_first_not_of(" \t") != std::string_view::npos)) return;
    at = end + 1;
  }
}

}  // namespace

std::vector<std::string> generate_shards(std::string_view jsonl) {
  std::vector<std::string> shards, lines;
  std::uint64_t count = 0;
  std::size_t bytes = 0;
  const auto close = [&] {
    if (!lines.empty()) shards.push_back(actors::pack_lines(count - lines.size(), lines));
    lines.clear();
    bytes = 0;
  };
  each_line(jsonl, [&](std::string_view line, bool holds_prompt) {
    if (!holds_prompt) return true;
    if (lines.size() == kLinesOfShard || bytes + line.size() > kLinesBytes) close();
    bytes += line.size();
    lines.emplace_back(line);
    ++count;
    return true;
  });
  close();
  return shards;
}

std::size_t line_of_prompt(std::string_view jsonl, std::uint64_t prompt) {
  std::size_t number = 0;
  each_line(jsonl, [&](std::string_view, bool holds_prompt) {
    ++number;
    return !holds_prompt || prompt-- != 0;
  });
  return number;
}

namespace {

// Blocks until the request's model is loaded. Returns the name by which it was called.
Result<actors::OpenPtr> load_model(Cluster::Impl& impl, const GenerateRequest& request) {
  TROUPE_ASSIGN_OR_RETURN(const actors::OpenPtr model,
                          actors::describe_model(*impl.process->store, request, impl.bulk));
  TROUPE_RETURN_IF_ERROR(actors::open_model(impl, model).status());
  return model;
}

// Loads the job's model first, so that the cluster has it when the client that brought it is gone.
// The job then names the model by its id.
Result<std::string> load_model_of(Cluster::Impl& impl, const std::string& text) {
  TROUPE_ASSIGN_OR_RETURN(actors::GenerateSpec spec, actors::parse_generate_spec(text));
  GenerateRequest request;
  request.model = spec.open.model;
  request.kv_type = actors::kv_type_of(spec.open.kv);
  request.f16_activations = actors::f16_activations_of(spec.open.kv);
  request.context = spec.open.context;
  TROUPE_ASSIGN_OR_RETURN(request.layers, actors::layer_ranges_of(spec.open));
  TROUPE_ASSIGN_OR_RETURN(
      const actors::OpenPtr open,
      actors::patiently(impl, [&](Cluster::Impl& now) { return load_model(now, request); }));
  spec.open.model = open->has_manifest ? "model:" + open->model : open->model;
  if (open->has_manifest) spec.model_name = open->manifest.name;
  return actors::to_json(spec);
}

}  // namespace

Result<std::string> Cluster::submit(const JobRequest& request) {
  const std::string id = request.id.empty() ? actors::drawn_id() : request.id;
  TROUPE_RETURN_IF_ERROR(actors::check_job_id(id));
  if (request.shards.empty()) {
    return Status(Code::kInvalidArgument, "the job has no shards; give it at least one");
  }
  actors::JobAsk piece = actors::job_ask(actors::JobAskKind::kSubmit, id);
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
    TROUPE_ASSIGN_OR_RETURN(const actors::HeadAnswer answer, actors::ask_head(*impl_, piece));
    TROUPE_ASSIGN_OR_RETURN(const bool complete, actors::read_flag(answer.text, "complete"));
    if (complete) return id;
    first = end;
  }
  return Status(Code::kInternal, "the head has taken every shard of job " + id +
                                     " and does not say that it is complete; submit it again");
}

Result<JobStatus> Cluster::job(const std::string& id) {
  TROUPE_ASSIGN_OR_RETURN(const actors::HeadAnswer answer,
                          actors::ask_head(*impl_, actors::job_ask(actors::JobAskKind::kShow, id)));
  return actors::read_job(answer.text);
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
  TROUPE_ASSIGN_OR_RETURN(
      const actors::HeadAnswer answer,
      actors::ask_head(*impl_, actors::job_ask(actors::JobAskKind::kCancel, id)));
  return actors::read_flag(answer.text, "cancelled");
}

Result<std::string> Cluster::job_output(const std::string& id, std::uint32_t shard) {
  TROUPE_ASSIGN_OR_RETURN(
      actors::HeadAnswer answer,
      actors::ask_head(*impl_, actors::job_ask(actors::JobAskKind::kOutput, id, shard)));
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
    TROUPE_ASSIGN_OR_RETURN(
        actors::HeadAnswer answer,
        actors::ask_head(*impl_, actors::job_ask(actors::JobAskKind::kResult, id)));
    return std::move(answer.data);
  }
  std::string whole;
  for (std::uint32_t shard = 0; shard < status.shards; ++shard) {
    TROUPE_ASSIGN_OR_RETURN(const std::string part, job_output(id, shard));
    whole += part;
  }
  return whole;
}

Result<std::vector<JobStatus>> Cluster::jobs() {
  TROUPE_ASSIGN_OR_RETURN(const actors::HeadAnswer answer,
                          actors::ask_head(*impl_, actors::job_ask(actors::JobAskKind::kList, "")));
  return actors::read_jobs(answer.text);
}

Result<JobLog> Cluster::job_log(const std::string& id, std::uint64_t after) {
  TROUPE_ASSIGN_OR_RETURN(
      const actors::HeadAnswer answer,
      actors::ask_head(*impl_, actors::job_ask(actors::JobAskKind::kLines, id, after)));
  return actors::read_answer<JobLog>(answer.text);
}

}  // namespace troupe
