#include <numeric>

#include <troupe/actors/engine/fair_shares.h>
#include <troupe/actors/jobs/shell.h>

// Runs the kind `generate`: a shard's lines become requests of the model's deployment. They share
// its steps with the lines of other shards and with people's requests. The coordinator and the
// engine decide where layers lie, and what happens to the requests when a node is lost.

namespace troupe::actors::jobs {
namespace {

constexpr std::uint32_t kLineDeadlineMs = 1'800'000;

// This sink passes on only the ends of answers, because only they matter here and each token would
// wake a thread.
struct EndsShell {};
token_sink::behavior_type ends_behavior(token_sink::stateful_pointer<EndsShell> self,
                                        jobs_actor jobs) {
  return {
      [](const TokenPtr&) {},
      [self, jobs](const FinishedPtr& finished) { self->send(jobs, finished); },
  };
}

// Says whether a failure is the fault of the line. A failure that another attempt may avoid is not.
bool is_of_the_line(Code code) {
  return code == Code::kInvalidArgument || code == Code::kFailedPrecondition ||
         code == Code::kInternal || code == Code::kBadData;
}

void complete_when_done(Self self, const Setup& setup, std::uint64_t attempt) {
  Answering& one = self->state.answering.at(attempt);
  if (one.missing > 0) return;
  std::string output;
  for (const std::string& line : one.lines) output += line;
  std::string said = "shard " + std::to_string(one.task.from) + ": " +
                     std::to_string(one.lines.size()) + " lines answered";
  if (one.failed > 0) said += ", " + std::to_string(one.failed) + " of them with an error";
  stop_answering(self, attempt);
  finish(self, setup, attempt, output, said);
}

void submit_lines(Self self, const Setup& setup, std::uint64_t attempt, const ModelReady& ready,
                  const PackedLines& packed) {
  const auto found = self->state.answering.find(attempt);
  if (found == self->state.answering.end()) return;  // cancelled meanwhile
  Answering& one = found->second;
  const auto me = caf::actor_cast<jobs_actor>(self);
  one.sink = self->system().spawn(ends_behavior, me);
  one.first = packed.first;
  one.lines.resize(packed.lines.size());
  one.ids.resize(packed.lines.size());
  one.missing = packed.lines.size();
  for (std::size_t i = 0; i < packed.lines.size(); ++i) {
    auto line = parse_generate_line(one.spec, packed.lines[i]);
    if (!line) {  // the line was checked when the job was submitted, but perhaps by another release
      one.lines[i] = generate_error(one.first + i, "", line.status());
      ++one.failed;
      --one.missing;
      continue;
    }
    one.ids[i] = line->id;
    auto submit = std::make_shared<Submit>(std::move(line->submit));
    submit->request = next_request_id();
    submit->deployment = ready.deployment;
    submit->owner = one.owner;
    submit->priority = kJobPriority;
    submit->deadline_ms = kLineDeadlineMs;
    self->state.requests[submit->request] = {attempt, i};
    self->send(self->state.service, submit_atom::value, SubmitPtr(std::move(submit)), one.sink);
  }
  complete_when_done(self, setup, attempt);
}

}  // namespace

void begin_answering(Self self, const Setup& setup, const JobTask& task) {
  const auto prepared = [&]() -> Result<PackedLines> {
    TROUPE_ASSIGN_OR_RETURN(const std::string input, setup->journal->input(task.job, task.from));
    return unpack_lines(input);
  }();
  const auto spec = [&]() -> Result<GenerateSpec> {
    TROUPE_RETURN_IF_ERROR(prepared.status());
    TROUPE_ASSIGN_OR_RETURN(const std::string text, setup->journal->spec(task.job));
    return parse_generate_spec(text);
  }();
  if (!spec) return fail(self, setup, task.attempt, spec.status());
  const auto record = setup->journal->job_number(task.job);
  if (!record) return fail(self, setup, task.attempt, record.status());
  Answering& one = self->state.answering[task.attempt];
  one.task = task;
  one.spec = *spec;
  one.owner = record->owner;
  const std::uint64_t attempt = task.attempt;
  const auto refused = [self, setup, attempt](const Status& why) {
    stop_answering(self, attempt);
    fail(self, setup, attempt, why);
  };
  self->request(self->state.service, caf::infinite, open_atom::value,
                std::make_shared<const OpenModel>(one.spec.open))
      .then(
          [self, setup, attempt, refused, packed = *prepared](const ReadyPtr& ready) {
            if (!ready->outcome.is_ok()) return refused(ready->outcome.status());
            submit_lines(self, setup, attempt, *ready, packed);
          },
          [refused](caf::error&) {
            refused(Status(Code::kUnavailable, "the cluster ended while the model was loaded"));
          });
}

void on_answer(Self self, const Setup& setup, const Finished& finished) {
  const auto request = self->state.requests.find(finished.request);
  if (request == self->state.requests.end()) return;
  const auto [attempt, index] = request->second;
  self->state.requests.erase(request);
  const auto found = self->state.answering.find(attempt);
  if (found == self->state.answering.end()) return;
  Answering& one = found->second;
  const Status why = finished.outcome.status();
  if (!why && !is_of_the_line(why.code())) {
    stop_answering(self, attempt);
    return fail(self, setup, attempt, why);
  }
  one.lines[index] = why ? generate_result(one.first + index, one.ids[index], finished)
                         : generate_error(one.first + index, one.ids[index], why);
  one.failed += !why;
  --one.missing;
  complete_when_done(self, setup, attempt);
}

void stop_answering(Self self, std::uint64_t attempt) {
  const auto found = self->state.answering.find(attempt);
  if (found == self->state.answering.end()) return;
  // The end of the sink cancels the requests that are still under way.
  if (found->second.sink) self->send_exit(found->second.sink, caf::exit_reason::user_shutdown);
  self->state.answering.erase(found);
  std::erase_if(self->state.requests,
                [&](const auto& entry) { return entry.second.first == attempt; });
}

}  // namespace troupe::actors::jobs
