#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include <troupe/actors/messages/request_log.h>
#include <troupe/actors/node/sampled_rows.h>
#include <troupe/actors/node/scored_rows.h>
#include <troupe/actors/node/worker.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/numerics/half.h>

namespace troupe::actors {

Status WorkerState::begin(const StepSegment& segment, Entry* entry) {
  const std::size_t shared = segment.position;
  const bool logs = segment.sampling.has_penalties();
  if (segment.history.size() != (logs ? shared : 0)) {
    return Status(Code::kBadData, "a sequence begins at position " + std::to_string(shared) +
                                      " with " + std::to_string(segment.history.size()) +
                                      " earlier token ids");
  }
  auto begun = stage_->begin_sequence(shared, segment.blocks);
  if (begun.code() == Code::kInvalidArgument) return Status(Code::kBadData, begun.message());
  TROUPE_RETURN_IF_ERROR(begun.status());
  *entry = {std::move(*begun), shared, segment.history, shared, 0};
  return Status::ok();
}

bool WorkerState::Entry::is_followed_by(const StepSegment& segment) const {
  if (accepted == next_position) return segment.position == next_position;
  // Some of the last rows may be of drafted ids that did not come true; the next step says which.
  return segment.turn == turns && segment.position >= accepted && segment.position <= next_position;
}

Result<std::shared_ptr<model::KvSequence>> WorkerState::admit(const StepSegment& segment,
                                                              std::span<const model::TokenId> ids) {
  if (segment.begins) {
    Entry entry;
    TROUPE_RETURN_IF_ERROR(begin(segment, &entry));
    sequences_[segment.request] = std::move(entry);
  }
  const auto found = sequences_.find(segment.request);
  const bool follows = found != sequences_.end() && found->second.is_followed_by(segment);
  if (!follows) {
    const std::size_t expected = found == sequences_.end() ? 0 : found->second.next_position;
    return Status(Code::kFailedPrecondition, "a step continues request " +
                                                 std::to_string(segment.request) + " at position " +
                                                 std::to_string(segment.position) +
                                                 ", this stage is at " + std::to_string(expected));
  }
  Entry& entry = found->second;
  if (segment.position < entry.next_position) {
    entry.sequence->truncate(segment.position);
    entry.log.resize(std::min<std::size_t>(entry.log.size(), segment.position));
  }
  if (!segment.begins && !segment.blocks.empty()) {
    TROUPE_RETURN_IF_ERROR(stage_->add_blocks(*entry.sequence, segment.blocks));
  }
  ++entry.turns;
  entry.next_position = segment.position + segment.count;
  entry.accepted = entry.next_position - segment.drafted;
  if (segment.sampling.has_penalties()) entry.log.insert(entry.log.end(), ids.begin(), ids.end());
  return entry.sequence;
}

Result<std::vector<std::shared_ptr<model::KvSequence>>> WorkerState::admit(const Step& step) {
  for (const std::uint64_t request : step.closed) sequences_.erase(request);
  stage_->free_blocks(step.freed);
  std::vector<std::shared_ptr<model::KvSequence>> handles;
  std::size_t rows = 0;
  for (const StepSegment& segment : step.segments) rows += segment.count;
  if (rows != step.token_ids.size()) {
    return Status(Code::kBadData, "a step has " + std::to_string(step.token_ids.size()) +
                                      " token ids for " + std::to_string(rows) + " rows");
  }
  std::span<const model::TokenId> ids(step.token_ids);
  for (const StepSegment& segment : step.segments) {
    if (segment.count == 0) {
      return Status(Code::kBadData, "a step has a segment without rows");
    }
    TROUPE_RETURN_IF_ERROR(check_drafted(segment));
    TROUPE_RETURN_IF_ERROR(
        check_scored(segment, ids.first(segment.count), stage_->config().vocabulary));
    TROUPE_ASSIGN_OR_RETURN(auto sequence, admit(segment, ids.first(segment.count)));
    ids = ids.subspan(segment.count);
    handles.push_back(std::move(sequence));
  }
  return handles;
}

Result<std::vector<model::TokenId>> WorkerState::log(std::uint64_t request, std::size_t end) const {
  const auto found = sequences_.find(request);
  const std::size_t known = found == sequences_.end() ? 0 : found->second.log.size();
  if (known < end) {
    return Status(Code::kFailedPrecondition,
                  "the penalties of request " + std::to_string(request) + " look at " +
                      std::to_string(end) + " tokens, this stage knows " + std::to_string(known));
  }
  const auto begin = found->second.log.begin();
  return std::vector<model::TokenId>(begin, begin + static_cast<std::ptrdiff_t>(end));
}

namespace {

// Everything that is needed to run one step.
struct StepJob {
  FramePtr frame;
  Step step;
  std::int64_t came_us = 0, begun_us = 0;
  std::vector<std::shared_ptr<model::KvSequence>> sequences;
  std::vector<std::vector<model::TokenId>> logs;  // one a segment; empty without penalties
};

using Logs = std::vector<std::vector<model::TokenId>>;

// Returns the tokens that sampling considers for each segment.
Result<Logs> logs_of(const WorkerState& state, const Step& step) {
  Logs logs(step.segments.size());
  for (std::size_t i = 0; i < logs.size(); ++i) {
    const StepSegment& segment = step.segments[i];
    if (!segment.sample || !segment.sampling.has_penalties()) continue;
    TROUPE_ASSIGN_OR_RETURN(logs[i], state.log(segment.request, segment.position + segment.count));
  }
  return logs;
}

std::string place_of(const WorkerSetup& setup, std::uint64_t step) {
  return "step=" + std::to_string(step) + " epoch=" + std::to_string(setup.epoch) +
         " layers=" + model::to_string(setup.stage->range());
}

// Records how long the stage took for a step: in `times` if the step is traced, and in the log.
void note_time(const WorkerSetup& setup, const StepJob& job, std::vector<StageTime>* times) {
  const std::int64_t now = monotonic_us();
  const auto queue_us = static_cast<std::uint32_t>(job.begun_us - job.came_us);
  const auto compute_us = static_cast<std::uint32_t>(now - job.begun_us);
  if (job.step.trace) {
    times->push_back(
        {setup.node + " " + model::to_string(setup.stage->range()), queue_us, compute_us});
  }
  if (!log_enabled(LogLevel::kDebug)) return;
  for (const StepSegment& segment : job.step.segments) {
    log_request(LogLevel::kDebug, segment.request,
                "computed at " + place_of(setup, job.frame->header.step) + " position=" +
                    std::to_string(segment.position) + " rows=" + std::to_string(segment.count) +
                    " queue_us=" + std::to_string(queue_us) +
                    " compute_us=" + std::to_string(compute_us));
  }
}

void fail_step(const WorkerSetup& setup, std::uint64_t step_id, const Step& step, const Status& why,
               bool no_memory = false) {
  StepFailed failed;
  for (const StepSegment& segment : step.segments) failed.requests.push_back(segment.request);
  failed.outcome = why;
  failed.no_memory = no_memory;
  for (const std::uint64_t request : failed.requests) {
    log_request(LogLevel::kInfo, request,
                "failed at " + place_of(setup, step_id) + ": " + why.message());
  }
  const Status sent =
      setup.link->send(setup.head, MessageType::kStepFailed, failed, setup.epoch, step_id);
  if (!sent) log(LogLevel::kWarning, "cannot tell the engine of a failed step: " + sent.message());
}

// Returns the number of bytes of a hidden state's value on the wire.
std::size_t value_bytes(const model::Stage& stage) {
  return stage.f16_activations() ? sizeof(std::uint16_t) : sizeof(float);
}

template <class T>
net::Payload payload_of(std::vector<T> values) {
  auto keep = std::make_shared<const std::vector<T>>(std::move(values));
  return {keep, std::as_bytes(std::span(*keep))};
}

net::Payload payload_of(const model::Stage& stage, std::vector<float> hidden) {
  if (!stage.f16_activations()) return payload_of(std::move(hidden));
  std::vector<std::uint16_t> halves(hidden.size());  // exact: the stage has rounded the values
  std::transform(hidden.begin(), hidden.end(), halves.begin(), f32_to_f16);
  return payload_of(std::move(halves));
}

// Fills `hidden` from `bytes`, which hold exactly as many values and may lie at any address.
void read_hidden(const model::Stage& stage, std::span<const std::byte> bytes,
                 std::vector<float>* hidden) {
  if (!stage.f16_activations()) {
    std::memcpy(hidden->data(), bytes.data(), bytes.size());
    return;
  }
  std::vector<std::uint16_t> halves(hidden->size());
  std::memcpy(halves.data(), bytes.data(), bytes.size());
  std::transform(halves.begin(), halves.end(), hidden->begin(), f16_to_f32);
}

Status pass_on(const WorkerSetup& setup, StepJob& job, model::StepOutput output) {
  note_time(setup, job, &job.step.times);
  net::Payload payload = payload_of(*setup.stage, std::move(output.hidden));
  const std::size_t bytes = payload.data.size();
  const Status sent = setup.link->send(setup.next, MessageType::kStep, job.step, setup.epoch,
                                       job.frame->header.step, std::move(payload));
  if (sent) {
    setup.counters->hidden_bytes_out += bytes;
    setup.counters->positions_out +=
        bytes / (setup.stage->config().channels * value_bytes(*setup.stage));
  }
  // Without a connection the step is lost; the node tells the head, which has it computed again.
  return sent.code() == Code::kUnavailable ? Status::ok() : sent;
}

// Returns which logits of a segment the last stage computes.
model::LogitRows logits_of(const WorkerSetup& setup, const StepSegment& segment) {
  if (is_scored(segment) || segment.drafted > 0) return model::LogitRows::kAll;
  if (!segment.sample) return model::LogitRows::kNone;
  const bool best = setup.stage->prefers_best() && segment.sampling.wants_best();
  return best ? model::LogitRows::kBest : model::LogitRows::kLast;
}

Status sample_and_answer(const WorkerSetup& setup, StepJob& job, const model::StepOutput& output,
                         ThreadPool& pool) {
  StepDone done;
  std::size_t best = 0;
  const std::size_t vocabulary = setup.stage->config().vocabulary;
  std::span<const float> logits(output.logits);
  std::span<const model::TokenId> ids(job.step.token_ids);
  for (std::size_t i = 0; i < job.step.segments.size(); ++i) {
    const StepSegment& segment = job.step.segments[i];
    const model::LogitRows wanted = logits_of(setup, segment);
    const auto own_ids = ids.first(segment.count);
    ids = ids.subspan(segment.count);
    if (wanted == model::LogitRows::kBest) {
      const std::uint32_t position = segment.position + segment.count;
      TROUPE_ASSIGN_OR_RETURN(const model::TokenId token,
                              model::sample_best(output.best[best++], position));
      done.tokens.push_back({segment.request, position, token, {}});
    }
    const std::size_t rows = wanted == model::LogitRows::kAll    ? segment.count
                             : wanted == model::LogitRows::kLast ? 1
                                                                 : 0;
    const auto own_logits = logits.first(rows * vocabulary);
    logits = logits.subspan(rows * vocabulary);
    if (is_scored(segment)) {
      TROUPE_ASSIGN_OR_RETURN(auto scored, score_rows(segment, own_ids, own_logits, pool));
      done.scored.push_back(std::move(scored));
    }
    if (rows == 0 || !segment.sample) continue;
    const auto sampled = own_logits.last((std::size_t{segment.drafted} + 1) * vocabulary);
    TROUPE_RETURN_IF_ERROR(sample_rows(segment, own_ids, sampled, job.logs[i], &done.tokens));
  }
  done.times = std::move(job.step.times);
  note_time(setup, job, &done.times);
  const Status sent = setup.link->send(setup.head, MessageType::kStepDone, done, setup.epoch,
                                       job.frame->header.step);
  return sent.code() == Code::kUnavailable ? Status::ok() : sent;  // as in pass_on
}

Status run_step(const WorkerSetup& setup, StepJob& job, ThreadPool& pool) {
  const model::ModelConfig& config = setup.stage->config();
  const bool first = setup.stage->range().begin == 0;
  const bool last = setup.stage->range().end == config.layers;
  std::vector<model::Segment> segments;
  std::size_t rows = 0;
  for (std::size_t i = 0; i < job.step.segments.size(); ++i) {
    const StepSegment& s = job.step.segments[i];
    segments.push_back({job.sequences[i].get(), s.position, s.count,
                        last ? logits_of(setup, s) : model::LogitRows::kNone});
    rows += s.count;
  }
  model::StepOutput output;
  if (rows > 0) {
    model::StepInput input;
    input.segments = segments;
    const std::span<const std::byte> bytes = job.frame->payload.data;
    std::vector<float> hidden;
    if (first) {
      input.token_ids = job.step.token_ids;
    } else {
      const std::size_t expected = rows * config.channels * value_bytes(*setup.stage);
      if (bytes.size() != expected) {
        return Status(Code::kBadData, "a step brings " + std::to_string(bytes.size()) +
                                          " bytes of hidden states, its rows take " +
                                          std::to_string(expected));
      }
      hidden.resize(rows * config.channels);
      read_hidden(*setup.stage, bytes, &hidden);
      input.hidden = hidden;
    }
    TROUPE_RETURN_IF_ERROR(setup.stage->forward(input, &output));
    setup.counters->steps += 1;
    setup.counters->positions += rows;
  }
  return last ? sample_and_answer(setup, job, output, pool)
              : pass_on(setup, job, std::move(output));
}

// Runs on the device's thread; the frame came at `came_us`.
void take_step(const WorkerSetup& setup, WorkerState& state, const FramePtr& frame,
               std::int64_t came_us, Device& device) {
  const std::int64_t begun_us = monotonic_us();
  Result<Step> step = decode_body<Step>(*setup.link, *frame);
  if (!step) return;
  auto sequences = state.admit(*step);
  auto logs = sequences ? logs_of(state, *step) : Result<Logs>(sequences.status());
  setup.counters->kv_bytes = setup.stage->kv_bytes();
  if (!logs) {
    return fail_step(setup, frame->header.step, *step, logs.status(),
                     logs.code() == Code::kResourceExhausted);
  }
  StepJob job{frame, std::move(*step), came_us, begun_us, std::move(*sequences), std::move(*logs)};
  const Status ran = run_step(setup, job, device.pool());
  const bool broken =
      !ran && device.accelerator() != nullptr && !device.accelerator()->health().is_ok();
  if (broken && setup.on_broken) return setup.on_broken(ran);
  if (!ran) fail_step(setup, frame->header.step, job.step, ran);
}

}  // namespace

FrameTaker make_worker(WorkerSetup worker) {
  const auto setup = std::make_shared<const WorkerSetup>(std::move(worker));
  const auto state = std::make_shared<WorkerState>(setup->stage);
  return [setup, state](const FramePtr& frame) {
    const std::int64_t came_us = monotonic_us();
    caf::anon_send(setup->device, std::make_shared<const DeviceJob>([=](Device& device) {
                     if (!*setup->over) take_step(*setup, *state, frame, came_us, device);
                   }));
  };
}

}  // namespace troupe::actors
