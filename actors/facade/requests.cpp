#include <troupe/actors/facade/requests.h>

namespace troupe::actors {
namespace {

constexpr int kDefaultDeadlineMs = 600'000;
// A request is one frame, whose body may have up to 16 MiB.
constexpr std::size_t kRequestBytesMax = 15 << 20;

std::size_t bytes_of(const GenerateRequest& request) {
  std::size_t bytes =
      request.prompt.size() + request.system.size() +
      sizeof(std::int32_t) * (request.prompt_ids.size() + request.answer_ids.size());
  for (const auto& message : request.messages) {
    bytes += message.role.size() + message.content.size();
  }
  for (const std::string& stop : request.stop) bytes += stop.size();
  bytes += request.cache_salt.size();
  return bytes;
}

}  // namespace

Status check_request(const GenerateRequest& request) {
  if (request.max_tokens < (request.prompt_logprobs > 0 ? 0 : 1)) {
    return Status(Code::kInvalidArgument, "max_tokens is " + std::to_string(request.max_tokens) +
                                              "; ask for at least one token");
  }
  if (const std::size_t bytes = bytes_of(request); bytes > kRequestBytesMax) {
    return Status(Code::kInvalidArgument,
                  "the prompt has " + std::to_string(bytes) + " bytes, and a request may have " +
                      std::to_string(kRequestBytesMax) + "; shorten the prompt");
  }
  return model::validate(request.sampling);
}

std::shared_ptr<Submit> make_submit(const GenerateRequest& request, std::uint64_t deployment) {
  auto submit = std::make_shared<Submit>();
  submit->request = next_request_id();
  submit->deployment = deployment;
  submit->prompt = request.prompt;
  for (const auto& message : request.messages) {
    submit->messages.push_back({message.role, message.content});
  }
  submit->prompt_ids = request.prompt_ids;
  submit->answer_ids = request.answer_ids;
  submit->system = request.system;
  submit->raw = request.raw;
  submit->max_tokens = static_cast<std::uint32_t>(request.max_tokens);
  submit->sampling = request.sampling;
  submit->stop = request.stop;
  submit->ignore_end = request.ignore_end;
  submit->trace = request.trace;
  submit->cache_salt = request.cache_salt;
  submit->prompt_logprobs = request.prompt_logprobs;
  submit->no_speculation = !request.speculation;
  submit->context = request.context;
  submit->deadline_ms = static_cast<std::uint32_t>(request.deadline_ms > 0 ? request.deadline_ms
                                                                           : kDefaultDeadlineMs);
  return submit;
}

namespace {

AnswerTrace make_trace(const RequestTrace& from) {
  AnswerTrace trace;
  trace.request = from.request;
  trace.engine_us = trace.total_us = static_cast<std::int64_t>(from.engine_us);
  for (const TracedStep& step : from.steps) {
    TraceStep out;
    out.position = step.position;
    out.rows = step.rows;
    out.sent_us = static_cast<std::int64_t>(step.sent_us);
    out.answered_us = static_cast<std::int64_t>(step.done_us);
    out.lost = step.lost;
    for (const StageTime& stage : step.stages) {
      out.stages.push_back({stage.stage, stage.queue_us, stage.compute_us});
    }
    trace.steps.push_back(std::move(out));
  }
  return trace;
}

}  // namespace

Result<GenerateResult> make_result(const Finished& finished, const ModelReady& ready) {
  const Status error = finished.outcome.status();
  if (finished.finish_reason == "error" && finished.token_ids.empty()) return error;
  GenerateResult result;
  result.text = finished.text;
  result.token_ids = finished.token_ids;
  result.prompt_token_ids = finished.prompt_ids;
  result.finish_reason = finished.finish_reason;
  result.error = error;
  result.prompt_tok_s = finished.prompt_tok_s;
  result.decode_tok_s = finished.decode_tok_s;
  result.ttft_ms = finished.ttft_ms;
  result.cached_tokens = finished.cached_tokens;
  result.prompt_logprobs = finished.prompt_logprobs;
  for (const auto& stage : ready.stages) result.nodes.push_back({stage.node, stage.layers});
  result.left_out = ready.left_out;
  if (finished.trace.request != 0) result.trace = make_trace(finished.trace);
  return result;
}

}  // namespace troupe::actors
