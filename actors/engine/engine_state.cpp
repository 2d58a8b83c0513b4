#include <algorithm>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/runtime/kernels/kernels.h>

namespace troupe::actors {
namespace {

Status check_id(model::TokenId id, std::size_t vocabulary) {
  if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) return Status::ok();
  return Status(Code::kInvalidArgument, "token id " + std::to_string(id) +
                                            " is not in the vocabulary of " +
                                            std::to_string(vocabulary) + " tokens");
}

// What a request may take, in the pages that stages take.
std::uint64_t positions_of(const EngineRequest& request) {
  const std::uint64_t most = std::min<std::uint64_t>(
      request.context, std::uint64_t{request.prompt.size()} + request.max_tokens);
  return (most + kernels::kPageKeys - 1) / kernels::kPageKeys * kernels::kPageKeys;
}

}  // namespace

std::uint64_t EngineState::Running::positions() const { return positions_of(request); }

std::uint64_t EngineState::positions_taken() const {
  std::uint64_t taken = 0;
  for (const auto& [id, running] : requests_) {
    if (running.sent > 0) taken += running.positions();
  }
  return taken;
}

Status EngineState::read_answer(const EngineRequest& request, AnswerText* text) const {
  if (request.answer.size() >= request.max_tokens) {
    return Status(Code::kInvalidArgument,
                  "the answer so far has " + std::to_string(request.answer.size()) +
                      " tokens, of max_tokens " + std::to_string(request.max_tokens) +
                      "; raise max_tokens to go on");
  }
  for (const model::TokenId id : request.answer) {
    TROUPE_RETURN_IF_ERROR(check_id(id, tokenizer_->vocabulary()));
    const bool is_end = !request.ignore_end && tokenizer_->is_end(id);
    if (!is_end) {
      TROUPE_ASSIGN_OR_RETURN(const std::string piece, tokenizer_->piece(id, false));
      text->push(piece);
    }
    if (is_end || text->stopped()) {
      return Status(Code::kInvalidArgument,
                    "the answer so far ends with token " + std::to_string(id) +
                        (is_end ? ", the model's own end" : ", which completes a stop string") +
                        "; there is nothing to go on with");
    }
  }
  return Status::ok();
}

Status EngineState::check_room(std::size_t others) const {
  if (requests_.size() + others < limits_.requests_max) return Status::ok();
  return Status(Code::kResourceExhausted, "the engine already serves " +
                                              std::to_string(limits_.requests_max) +
                                              " requests; try again when some have ended");
}

Status EngineState::admit(EngineRequest request, std::int64_t now_us) {
  TROUPE_RETURN_IF_ERROR(check_room(0));
  if (request.prompt.empty()) {
    return Status(Code::kInvalidArgument, "the prompt has no tokens; give at least one");
  }
  for (const model::TokenId id : request.prompt) {
    TROUPE_RETURN_IF_ERROR(check_id(id, tokenizer_->vocabulary()));
  }
  if (request.max_tokens == 0) {
    return Status(Code::kInvalidArgument, "max_tokens is 0; ask for at least one token");
  }
  if (request.context > limits_.context_max) {
    return Status(Code::kInvalidArgument, "a context of " + std::to_string(request.context) +
                                              " positions is more than the model's " +
                                              std::to_string(limits_.context_max));
  }
  if (request.context == 0) request.context = limits_.context_max;
  const std::size_t length = request.prompt.size() + request.answer.size();
  if (length >= request.context) {
    return Status(
        Code::kInvalidArgument,
        std::string(request.answer.empty() ? "the prompt has " : "prompt and answer so far have ") +
            std::to_string(length) + " tokens, the context only " +
            std::to_string(request.context) + "; shorten the prompt or raise the context");
  }
  TROUPE_RETURN_IF_ERROR(model::validate(request.sampling));
  for (const model::LogitBias& one : request.sampling.logit_bias) {
    if (static_cast<std::size_t>(one.id) < tokenizer_->vocabulary()) continue;
    return Status(Code::kInvalidArgument, "logit_bias names token " + std::to_string(one.id) +
                                              ", outside the vocabulary of " +
                                              std::to_string(tokenizer_->vocabulary()) + " tokens");
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty()) return Status(Code::kInvalidArgument, "a stop string is empty");
  }
  const std::uint64_t id = request.id;
  if (requests_.contains(id)) {
    return Status(Code::kInvalidArgument, "request " + std::to_string(id) + " runs already");
  }
  const std::uint64_t positions = positions_of(request);
  if (limits_.positions_max != 0 && positions > limits_.positions_max) {
    return Status(Code::kResourceExhausted,
                  "the request may take " + std::to_string(positions) +
                      " positions with its answer, and the nodes' memory has room for the keys and "
                      "values of " +
                      std::to_string(limits_.positions_max) +
                      "; ask for fewer tokens, or let the nodes offer more (--memory)");
  }
  AnswerText text(request.stop);
  TROUPE_RETURN_IF_ERROR(read_answer(request, &text));
  std::vector<model::TokenId> answer = std::move(request.answer);
  const std::size_t resumed = answer.size();
  requests_.emplace(id, Running{std::move(request), std::move(answer), resumed, 0, false,
                                std::move(text), now_us});
  turn_.push_back(id);
  return Status::ok();
}

std::vector<EngineEvent> EngineState::cancel(std::uint64_t request) {
  std::vector<EngineEvent> events;
  end(request, "cancelled", Status::ok(), &events);
  return events;
}

void EngineState::add_rows(Running& running, std::size_t count, Step* step) {
  const std::size_t prompt = running.request.prompt.size();
  StepSegment segment;
  segment.request = running.request.id;
  segment.position = static_cast<std::uint32_t>(running.sent);
  segment.count = static_cast<std::uint32_t>(count);
  segment.prompt = static_cast<std::uint32_t>(prompt);
  segment.sample = running.sent + count == running.length();
  segment.sampling = running.request.sampling;
  for (std::size_t i = running.sent; i < running.sent + count; ++i) {
    step->token_ids.push_back(i < prompt ? running.request.prompt[i] : running.answer[i - prompt]);
  }
  step->segments.push_back(segment);
  running.sent += count;
  running.waiting = segment.sample;
}

void EngineState::add_decode_rows(Step* step) {
  std::size_t decoding = 0, ready = 0;
  bool prompts = false;
  for (const auto& [id, running] : requests_) {
    decoding += running.decoding();
    ready += running.decoding() && !running.waiting;
    prompts = prompts || (!running.decoding() && !running.waiting && may_start(running));
  }
  std::size_t share = (decoding + limits_.stages - 1) / limits_.stages;
  share = std::min(share, limits_.rows_max);
  // While every stage has a step, rows wait for the rest of their share: a step of few rows reads
  // as many weights.
  if (!prompts && ready < share && in_flight_.size() >= limits_.stages) return;
  for (std::size_t i = 0, n = turn_.size(); i < n && step->token_ids.size() < share; ++i) {
    const std::uint64_t id = turn_.front();
    turn_.pop_front();
    turn_.push_back(id);
    Running& running = requests_.at(id);
    if (running.decoding() && !running.waiting) add_rows(running, 1, step);
  }
}

void EngineState::add_prompt_rows(std::uint64_t positions_taken, Step* step) {
  std::size_t budget = std::min(limits_.chunk_rows, limits_.rows_max - step->token_ids.size());
  for (auto& [id, running] : requests_) {
    if (budget == 0) break;
    if (running.decoding() || running.waiting || !may_start(running)) continue;
    if (running.sent == 0 && limits_.positions_max != 0) {
      // No request overtakes one that waits for memory, which would then wait for ever. A request
      // that is alone starts in any case: where nodes were lost, there may be less memory than it
      // was admitted with.
      const std::uint64_t wanted = positions_taken + running.positions();
      if (positions_taken > 0 && wanted > limits_.positions_max) break;
      positions_taken = wanted;
    }
    const std::size_t count = std::min(budget, running.length() - running.sent);
    if (count == 0) continue;
    add_rows(running, count, step);
    budget -= count;
  }
}

PlannedStep EngineState::seal(Step step) {
  step.closed = std::move(closed_);
  closed_.clear();
  PlannedStep planned{next_step_++, std::move(step)};
  std::vector<std::uint64_t>& computed = in_flight_[planned.id];
  for (const StepSegment& segment : planned.step.segments) computed.push_back(segment.request);
  return planned;
}

std::optional<PlannedStep> EngineState::next_step() {
  if (halted_ || in_flight_.size() >= limits_.steps_in_flight_max) return std::nullopt;
  const std::uint64_t taken = positions_taken();
  Step step;
  add_decode_rows(&step);
  add_prompt_rows(taken, &step);
  if (step.segments.empty() && closed_.empty()) return std::nullopt;
  return seal(std::move(step));
}

// Suspects go one at a time: whoever is computed when a worker crashes is then known.
bool EngineState::may_start(const Running& running) const {
  if (!running.suspect() || running.sent > 0) return true;
  return std::none_of(requests_.begin(), requests_.end(), [](const auto& entry) {
    return entry.second.suspect() && entry.second.sent > 0;
  });
}

void EngineState::accept(const SampledToken& token, std::int64_t now_us,
                         std::vector<EngineEvent>* events) {
  const auto found = requests_.find(token.request);
  if (found == requests_.end()) return;  // ended meanwhile
  Running& running = found->second;
  if (!running.waiting || token.position != running.length()) return;  // counted already
  running.waiting = false;
  running.crashes.clear();
  running.answer.push_back(token.token);
  running.last_us = now_us;
  if (running.first_us == 0) running.first_us = now_us;

  const bool is_end = !running.request.ignore_end && tokenizer_->is_end(token.token);
  std::string text;
  if (!is_end) {
    Result<std::string> piece = tokenizer_->piece(token.token, false);
    if (!piece) {
      end(token.request, "error", piece.status(), events);
      return;
    }
    text = running.text.push(*piece);
  }
  Token out{token.request, static_cast<std::uint32_t>(running.answer.size() - 1), token.token,
            std::move(text), token.logprobs};
  const bool stopped = is_end || running.text.stopped();
  const bool full = running.answer.size() >= running.request.max_tokens ||
                    running.length() >= running.request.context;
  if (stopped || full) out.text += running.text.finish();
  events->push_back({token.request, std::move(out), std::nullopt});
  if (stopped || full) end(token.request, stopped ? "stop" : "length", Status::ok(), events);
}

std::vector<EngineEvent> EngineState::on_done(std::uint64_t step, const StepDone& done,
                                              std::int64_t now_us) {
  std::vector<EngineEvent> events;
  if (in_flight_.erase(step) == 0) return events;
  for (const SampledToken& token : done.tokens) accept(token, now_us, &events);
  return events;
}

std::vector<EngineEvent> EngineState::on_failed(std::uint64_t step, const StepFailed& failed) {
  std::vector<EngineEvent> events;
  if (in_flight_.erase(step) == 0) return events;
  const Status why = failed.outcome.status();
  for (const std::uint64_t request : failed.requests) end(request, "error", why, &events);
  return events;
}

void EngineState::replay() {
  in_flight_.clear();
  closed_.clear();
  for (auto& [id, running] : requests_) {
    running.sent = 0;
    running.waiting = false;
  }
}

std::vector<EngineEvent> EngineState::halt(const std::string& crashed) {
  std::vector<EngineEvent> events;
  std::set<std::uint64_t> suspects;
  for (const auto& [id, running] : requests_) {
    replays_ += running.sent > 0;
    replayed_tokens_ += running.sent;
  }
  if (!crashed.empty()) {
    std::set<std::uint64_t> computed;
    for (const auto& [step, requests] : in_flight_) {
      computed.insert(requests.begin(), requests.end());
    }
    for (const std::uint64_t id : computed) {
      const auto found = requests_.find(id);
      if (found == requests_.end()) continue;  // ended meanwhile
      found->second.crashes.push_back(crashed);
      if (found->second.suspect()) suspects.insert(id);
    }
  }
  replay();
  halted_ = true;
  if (suspects.size() == 1) {
    std::string names;
    for (const std::string& name : requests_.at(*suspects.begin()).crashes) {
      names += (names.empty() ? "" : ", then ") + name;
    }
    end(*suspects.begin(), "error",
        Status(Code::kInternal, "workers crashed in a row while they computed this request (" +
                                    names + "); it is not tried again"),
        &events);
  }
  return events;
}

void EngineState::resume(const EngineLimits& limits) {
  limits_ = limits;
  halted_ = false;
}

std::vector<EngineEvent> EngineState::fail_all(const Status& why) {
  std::vector<EngineEvent> events;
  in_flight_.clear();
  while (!requests_.empty()) end(requests_.begin()->first, "error", why, &events);
  closed_.clear();
  return events;
}

std::vector<EngineEvent> EngineState::expire(std::int64_t now_us) {
  std::vector<std::uint64_t> late;
  for (const auto& [id, running] : requests_) {
    if (running.request.deadline_us != 0 && now_us >= running.request.deadline_us) {
      late.push_back(id);
    }
  }
  std::vector<EngineEvent> events;
  for (const std::uint64_t id : late) {
    end(id, "error",
        Status(Code::kDeadlineExceeded,
               "the deadline of the request passed before the answer was complete; ask for fewer "
               "tokens or allow more time"),
        &events);
  }
  return events;
}

Finished EngineState::finish(Running& running, std::string reason, const Status& error) {
  Finished out;
  out.request = running.request.id;
  out.finish_reason = std::move(reason);
  out.outcome = error;
  running.text.finish();
  out.text = running.text.shown();
  const auto seconds = [](std::int64_t from, std::int64_t to) {
    return static_cast<double>(to - from) * 1e-6;
  };
  if (running.first_us > running.begin_us) {
    const double wait = seconds(running.begin_us, running.first_us);
    out.ttft_ms = wait * 1e3;
    out.prompt_tok_s = static_cast<double>(running.request.prompt.size() + running.resumed) / wait;
  }
  const std::size_t written = running.answer.size() - running.resumed;
  if (written > 1 && running.last_us > running.first_us) {
    out.decode_tok_s =
        static_cast<double>(written - 1) / seconds(running.first_us, running.last_us);
  }
  out.prompt_ids = std::move(running.request.prompt);
  out.token_ids = std::move(running.answer);
  return out;
}

void EngineState::end(std::uint64_t id, std::string reason, const Status& error,
                      std::vector<EngineEvent>* events) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  if (found->second.sent > 0) closed_.push_back(id);
  events->push_back({id, std::nullopt, finish(found->second, std::move(reason), error)});
  requests_.erase(found);
  turn_.erase(std::find(turn_.begin(), turn_.end(), id));
}

std::size_t EngineState::waiting() const {
  return static_cast<std::size_t>(
      std::count_if(requests_.begin(), requests_.end(),
                    [](const auto& entry) { return entry.second.sent == 0; }));
}

}  // namespace troupe::actors
