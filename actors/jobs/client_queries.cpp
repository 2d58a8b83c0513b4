#include <nlohmann/json.hpp>

#include <troupe/actors/cluster_state/budgets.h>
#include <troupe/actors/jobs/job_id.h>
#include <troupe/actors/jobs/shell.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/numerics/arithmetic_version.h>

namespace troupe::actors {

namespace jobs {
namespace {

using nlohmann::json;

std::string text_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

json describe(Self self, const JobRecord& job) {
  JobState& state = *self->state.state;
  std::string now = life_name(job.life);
  const std::size_t running = state.has(job.number) ? state.running(job.number) : 0;
  if (job.life == JobLife::kRunning && running == 0) now = "waiting";
  json object = {{"id", job.id},
                 {"number", job.number},
                 {"kind", job.kind},
                 {"state", now},
                 {"shards", job.shards},
                 {"received", job.received},
                 {"finished", job.finished},
                 {"running", running},
                 {"submitted_unix_ms", job.submitted_ms},
                 {"ended_unix_ms", nullptr},
                 {"error", nullptr}};
  if (is_over(job.life)) object["ended_unix_ms"] = job.ended_ms;
  if (!job.error.empty()) object["error"] = job.error;
  if (job.life == JobLife::kRunning && !state.has_worker(job.kind)) {
    object["waits_for"] = "a node whose program registers the kind '" + job.kind + "'";
  }
  // A specification that is not JSON within bounds is shown as a text, because dump() recurses.
  const auto spec = parse_json(job.spec, "the specification", spec_limits());
  object["spec"] = spec ? *spec : json(job.spec);
  return object;
}

Status check(const JobAsk& ask) {
  TROUPE_RETURN_IF_ERROR(check_job_id(ask.id));
  std::size_t bytes = 0;
  for (const std::string& input : ask.inputs) {
    bytes += input.size();
    if (input.size() <= kShardBytesMax) continue;
    return Status(Code::kInvalidArgument, "a shard has " + std::to_string(input.size()) +
                                              " bytes, of at most " +
                                              std::to_string(kShardBytesMax) + "; cut it smaller");
  }
  if (bytes > kJobMessageBytesMax || ask.spec.size() > kShardBytesMax) {
    return Status(Code::kInvalidArgument, "more than " + std::to_string(kJobMessageBytesMax) +
                                              " bytes of a job in one message");
  }
  if (ask.job_kind.empty() || ask.job_kind.size() > 64) {
    return Status(Code::kInvalidArgument, "a job's kind is a name of 1 to 64 bytes");
  }
  const Status depth = check_json_depth(ask.spec, "the job's specification", spec_limits());
  if (!depth) return Status(Code::kInvalidArgument, depth.message());
  if (ask.job_kind != kGenerateKind) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const GenerateSpec spec, parse_generate_spec(ask.spec));
  for (const std::string& input : ask.inputs) {
    TROUPE_ASSIGN_OR_RETURN(const PackedLines packed, unpack_lines(input));
    for (std::size_t i = 0; i < packed.lines.size(); ++i) {
      TROUPE_RETURN_IF_ERROR(
          parse_generate_line(spec, packed.lines[i])
              .status()
              .with_context("line " + std::to_string(packed.first + i + 1) + " of the input"));
    }
  }
  return Status::ok();
}

// Stores a piece of a job, and acknowledges it only when it is committed.
Result<json> submit(Self self, const Setup& setup, const JobAsk& ask, const Asker& asker) {
  TROUPE_RETURN_IF_ERROR(check(ask));
  JobPiece piece{ask.id, asker.owner, ask.job_kind, ask.spec, ask.shards, 0, ask.inputs};
  if (!asker.owner.empty()) piece.owner_bytes_max = budget_of(asker.role).job_bytes;
  piece.first = static_cast<std::uint32_t>(std::min<std::uint64_t>(ask.number, UINT32_MAX));
  TROUPE_ASSIGN_OR_RETURN(const JobRecord job, setup->journal->receive(piece, unix_now_ms()));
  if (job.life == JobLife::kRunning && !self->state.state->has(job.number)) {
    TROUPE_ASSIGN_OR_RETURN(const auto finished, setup->journal->finished_shards(job.number));
    self->state.state->add(job, finished, job.kind != kGenerateKind);
    log(LogLevel::kInfo, "job " + job.id + " was submitted: " + job.kind + ", " +
                             std::to_string(job.shards) + " shards");
    drive(self, setup);
  }
  return json{{"id", job.id},
              {"received", job.received},
              {"shards", job.shards},
              {"complete", job.life != JobLife::kReceiving}};
}

Result<json> list(Self self, const Setup& setup, Reach reach, const Asker& asker) {
  TROUPE_ASSIGN_OR_RETURN(const auto jobs, setup->journal->jobs());
  json all = json::array();
  for (const JobRecord& job : jobs) {
    if (job.life == JobLife::kReceiving || !reaches(reach, asker, job.owner)) continue;
    all.push_back(describe(self, job));
  }
  return json{{"jobs", all}};
}

Result<json> lines(const Setup& setup, const JobRecord& job, std::uint64_t after) {
  TROUPE_ASSIGN_OR_RETURN(const auto lines, setup->journal->lines(job.number, after));
  json all = json::array();
  for (const JobLine& line : lines) {
    all.push_back({{"sequence", line.sequence}, {"unix_ms", line.at_ms}, {"text", line.text}});
  }
  // A client that follows the log thus knows when nothing more will come.
  return json{{"lines", all}, {"over", is_over(job.life)}};
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text));
}

Result<json> stream(const Setup& setup, const std::string& id, Reach reach, const Asker& asker,
                    std::string* data) {
  TROUPE_ASSIGN_OR_RETURN(const StreamRecord record, setup->journal->stream(id));
  if (!reaches(reach, asker, record.owner)) return Journal::no_stream(id);
  OpenStream stream;
  TROUPE_ASSIGN_OR_RETURN(stream.open, wire::decode<OpenModel>(bytes_of(record.open)));
  TROUPE_ASSIGN_OR_RETURN(stream.submit, wire::decode<Submit>(bytes_of(record.submit)));
  stream.tokens = record.tokens;
  if (record.arithmetic != kArithmeticVersion) {
    // Only the part of the answer that was computed can be repeated: the engine does so, and ends
    // the answer with the reason.
    stream.submit.arithmetic = record.arithmetic;
    stream.submit.answer_ids = record.tokens;
  }
  const auto bytes = wire::encode(stream);
  data->assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return json::object();
}

Result<json> answer_about(Self self, const Setup& setup, const JobAsk& ask, const Asker& asker,
                          std::string* data) {
  const auto kind = static_cast<JobAskKind>(ask.kind);
  const Reach reach = reach_of(kind, asker.role);
  if (kind == JobAskKind::kSubmit) return submit(self, setup, ask, asker);
  if (kind == JobAskKind::kList) return list(self, setup, reach, asker);
  if (kind == JobAskKind::kStream) return stream(setup, ask.id, reach, asker, data);
  TROUPE_ASSIGN_OR_RETURN(const JobRecord job, setup->journal->job(ask.id));
  if (!reaches(reach, asker, job.owner)) return Journal::no_job(ask.id);
  switch (kind) {
    case JobAskKind::kShow:
      return describe(self, job);
    case JobAskKind::kLines:
      return lines(setup, job, ask.number);
    case JobAskKind::kOutput: {
      const auto shard =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(ask.number, UINT32_MAX));
      TROUPE_ASSIGN_OR_RETURN(*data, setup->journal->output(job.number, shard));
      return json::object();
    }
    case JobAskKind::kResult: {
      TROUPE_ASSIGN_OR_RETURN(*data, setup->journal->result(job.number));
      return json::object();
    }
    case JobAskKind::kCancel: {
      TROUPE_ASSIGN_OR_RETURN(const bool counts,
                              end_job(self, setup, job.number, JobLife::kCancelled, ""));
      TROUPE_ASSIGN_OR_RETURN(const JobRecord after, setup->journal->job(ask.id));
      return json{{"id", job.id}, {"cancelled", counts}, {"state", life_name(after.life)}};
    }
    default:
      return Status(Code::kInvalidArgument,
                    "the head does not know this question about a job; run the same release of "
                    "Troupe everywhere");
  }
}

}  // namespace

JobReply answer(Self self, const Setup& setup, const JobAsk& ask, const Asker& asker) {
  JobReply reply;
  const Result<json> result = answer_about(self, setup, ask, asker, &reply.data);
  reply.request = ask.request;
  reply.outcome = result.status();
  if (result) reply.outcome.text = text_of(*result);
  return reply;
}

}  // namespace jobs
}  // namespace troupe::actors
