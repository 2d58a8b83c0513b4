#include <algorithm>
#include <utility>

#include <troupe/actors/engine/engine_state.h>

namespace troupe::actors {
namespace {

Status check_id(model::TokenId id, std::size_t vocabulary) {
  if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) return Status::ok();
  return Status(Code::kInvalidArgument, "token id " + std::to_string(id) +
                                            " is not in the vocabulary of " +
                                            std::to_string(vocabulary) + " tokens");
}

// Returns the most positions that a request may take, in whole blocks.
std::uint64_t positions_of(const EngineRequest& request) {
  const std::uint64_t most = std::min<std::uint64_t>(
      request.context, std::uint64_t{request.prompt.size()} + request.max_tokens);
  return blocks_of(most) * kBlockPositions;
}

}  // namespace

BlockLimits EngineState::block_limits(const EngineLimits& limits) {
  // A node offers all of its machine's memory unless it is told otherwise, and blocks that are
  // merely kept must not crowd out everything else there. So idle blocks get a quarter of it, or
  // room for one whole sequence if that is no more than half. If the memory is not known, they get
  // the latter.
  const std::uint64_t most = limits.positions_max / kBlockPositions;
  const std::uint64_t whole = blocks_of(limits.context_max);
  return {most, most == 0 ? whole : std::max(most / 4, std::min(whole, most / 2))};
}

Status EngineState::read_answer(const EngineRequest& request, AnswerText* text) const {
  if (!request.answer.empty() && request.answer.size() >= request.max_tokens) {
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

Status EngineState::check_prompt_logprobs(const EngineRequest& request) const {
  const std::size_t count = request.prompt_logprobs;
  if (count == 0 && request.max_tokens == 0) {
    return Status(Code::kInvalidArgument, "max_tokens is 0; ask for at least one token");
  }
  if (count > model::SamplingParams::kLogprobsMax) {
    return Status(Code::kInvalidArgument,
                  "prompt_logprobs is " + std::to_string(count) + ", at most " +
                      std::to_string(model::SamplingParams::kLogprobsMax) + " are reported");
  }
  if (request.max_tokens == 0 && request.prompt.size() < 2) {
    return Status(Code::kInvalidArgument,
                  "max_tokens is 0, and the prompt has one token, before which there is nothing: "
                  "there is nothing to compute");
  }
  if (count > 0 && (count + 1) * (request.prompt.size() - 1) > kPromptLogprobsMax) {
    return Status(Code::kInvalidArgument,
                  "the log-probabilities of " + std::to_string(request.prompt.size()) +
                      " tokens, each beside those of " + std::to_string(count) +
                      " likely ones, are more than the " + std::to_string(kPromptLogprobsMax) +
                      " of one request; ask for fewer likely ones or shorten the prompt");
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
  TROUPE_RETURN_IF_ERROR(check_share(request));
  if (request.prompt.empty()) {
    return Status(Code::kInvalidArgument, "the prompt has no tokens; give at least one");
  }
  for (const model::TokenId id : request.prompt) {
    TROUPE_RETURN_IF_ERROR(check_id(id, tokenizer_->vocabulary()));
  }
  TROUPE_RETURN_IF_ERROR(check_prompt_logprobs(request));
  if (request.context > limits_.context_max) {
    return Status(Code::kInvalidArgument, "a context of " + std::to_string(request.context) +
                                              " positions is more than the model's " +
                                              std::to_string(limits_.context_max));
  }
  if (request.context == 0) request.context = limits_.context_max;
  const std::size_t length = request.prompt.size() + request.answer.size();
  if (length + (request.max_tokens == 0 ? 0 : 1) > request.context) {
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
  // Time in which nothing runs says nothing about the pace at which requests end.
  if (requests_.empty()) ended_us_ = now_us;
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
  std::vector<model::TokenId> log = std::exchange(request.prompt, {});
  const std::size_t prompt = log.size(), resumed = request.answer.size();
  log.insert(log.end(), request.answer.begin(), request.answer.end());
  request.answer = {};
  BlockSequence blocks;
  blocks.domain = std::make_shared<const BlockDomain>(BlockDomain{request.owner, request.salt});
  if (request.salt.empty()) {
    blocks.public_blocks = std::min(request.public_ids, prompt) / kBlockPositions;
  }
  std::string asker = asker_of(request);
  shares_.begin(asker, request.weight);
  requests_.emplace(id, Running{std::move(request), std::move(log), prompt, resumed,
                                std::move(text), now_us, std::move(blocks), std::move(asker)});
  turn_.push_back(id);
  return Status::ok();
}

std::vector<EngineEvent> EngineState::cancel(std::uint64_t request) {
  std::vector<EngineEvent> events;
  end(request, "cancelled", Status::ok(), &events);
  return events;
}

void EngineState::accept_all(std::uint64_t step, const InFlight& sent,
                             std::span<const SampledToken> tokens, std::int64_t now_us,
                             std::vector<EngineEvent>* events) {
  const auto found = requests_.find(tokens.front().request);
  if (found == requests_.end()) return;  // ended meanwhile
  Running& running = found->second;
  // The token that a request waits for may come from a step that was sent before the request was
  // preempted: it is the same token. Only the results of the newest step have drafted rows behind
  // them.
  if (!running.waiting) return;
  const bool newest = running.asked == step;
  const std::size_t drafted = running.drafted, before = running.log.size();
  for (const SampledToken& token : tokens) {
    if (token.position != running.log.size()) continue;  // counted already
    if (newest && running.log.size() > before) {
      if (running.drafted == 0) break;
      accept_drafted_row(running);
    }
    if (!accept(token, now_us, events)) return;
  }
  if (running.log.size() == before) return;
  if (newest && drafted > 0) {
    running.drafts.note(running.matched, drafted, drafted - running.drafted, sent.rows.size(),
                        draft_costs_);
  }
  running.drafted = 0;
}

bool EngineState::accept(const SampledToken& token, std::int64_t now_us,
                         std::vector<EngineEvent>* events) {
  Running& running = requests_.at(token.request);
  // The step of the missing scores was lost, so they are computed again.
  if (running.scores.size() < running.scored()) {
    preempt(token.request);
    return false;
  }
  running.waiting = false;
  running.crashes.clear();
  running.log.push_back(token.token);
  shares_.charge(running.asker, 1);
  running.drafts.note_token();
  running.last_us = now_us;
  if (running.first_us == 0) running.first_us = now_us;

  const bool is_end = !running.request.ignore_end && tokenizer_->is_end(token.token);
  std::string text;
  if (!is_end) {
    Result<std::string> piece = tokenizer_->piece(token.token, false);
    if (!piece) {
      end(token.request, "error", piece.status(), events);
      return false;
    }
    text = running.text.push(*piece);
  }
  Token out{token.request, static_cast<std::uint32_t>(running.answered() - 1), token.token,
            std::move(text), token.logprobs};
  out.prompt_logprobs = std::exchange(running.scores, {});
  running.request.prompt_logprobs = 0;  // told once
  const bool stopped = is_end || running.text.stopped();
  const bool full = running.answered() >= running.request.max_tokens ||
                    running.log.size() >= running.request.context;
  if (stopped || full) out.text += running.text.finish();
  events->push_back({token.request, std::move(out), std::nullopt});
  if (!stopped && !full) return true;
  end(token.request, stopped ? "stop" : "length", Status::ok(), events);
  return false;
}

void EngineState::accept_scores(const ScoredPrompt& scored, std::int64_t now_us,
                                std::vector<EngineEvent>* events) {
  const auto found = requests_.find(scored.request);
  if (found == requests_.end()) return;  // ended meanwhile
  Running& running = found->second;
  if (scored.position > running.scores.size() + 1) {  // the step before it was lost
    preempt(scored.request);
    return;
  }
  // The score of an id counts once, at its position, whichever step brought it.
  for (std::size_t i = 0; i < scored.logprobs.size(); ++i) {
    const bool is_next = scored.position + i == running.scores.size() + 1;
    if (is_next && running.scores.size() < running.scored()) {
      running.scores.push_back(scored.logprobs[i]);
    }
  }
  if (running.request.max_tokens == 0 && running.scores.size() == running.scored()) {
    running.first_us = running.last_us = now_us;
    end(scored.request, "length", Status::ok(), events);
  }
}

std::vector<EngineEvent> EngineState::on_done(std::uint64_t step, const StepDone& done,
                                              std::int64_t now_us) {
  std::vector<EngineEvent> events;
  const auto sent = in_flight_.extract(step);
  if (sent.empty()) return events;
  table_.fill(sent.mapped().filled);
  note_draft_costs(sent.mapped(), now_us);
  // If a step waited behind another one, its cost is the time from that step's result to its own.
  // With several stages, that is the time of the slowest stage.
  const auto behind = static_cast<std::int64_t>(limits_.stages) * (now_us - last_done_us_);
  step_costs_.note(sent.mapped().costs, std::min(now_us - sent.mapped().sent_us, behind));
  last_done_us_ = now_us;
  for (const ScoredPrompt& scored : done.scored) accept_scores(scored, now_us, &events);
  std::span<const SampledToken> left(done.tokens);
  while (!left.empty()) {
    const auto next = std::find_if(left.begin(), left.end(), [&](const SampledToken& token) {
      return token.request != left.front().request;
    });
    const auto count = static_cast<std::size_t>(next - left.begin());
    accept_all(step, sent.mapped(), left.first(count), now_us, &events);
    left = left.subspan(count);
  }
  note_ends(events, now_us);
  return events;
}

bool EngineState::is_stale(const InFlight& sent) const {
  return std::any_of(sent.rows.begin(), sent.rows.end(), [&](const InFlight::Rows& rows) {
    const auto found = requests_.find(rows.request);
    return found == requests_.end() || found->second.run != rows.run;
  });
}

bool EngineState::was_overtaken(std::uint64_t step) const {
  const auto sent = in_flight_.find(step);
  return sent != in_flight_.end() && step < failed_before_ && is_stale(sent->second);
}

std::vector<EngineEvent> EngineState::on_failed(std::uint64_t step, const StepFailed& failed) {
  std::vector<EngineEvent> events;
  const Status why = failed.outcome.status();
  const bool overtaken = why.code() == Code::kFailedPrecondition && was_overtaken(step);
  const auto sent = in_flight_.extract(step);
  if (sent.empty()) return events;
  failed_before_ = next_step_;
  if (overtaken) {
    for (const std::uint64_t request : failed.requests) preempt(request);
  } else if (!(failed.no_memory && give_way(failed.requests)) &&
             !compute_without_drafts(sent.mapped(), failed.requests)) {
    for (const std::uint64_t request : failed.requests) end(request, "error", why, &events);
  }
  // The stages after the one that failed have not received what the step said besides its rows.
  for (const std::uint64_t request : sent.mapped().closed) {
    const auto found = requests_.find(request);
    if (found == requests_.end() || !found->second.begun) closed_.push_back(request);
  }
  table_.tell_freed_again(sent.mapped().freed);
  return events;
}

void EngineState::replay() {
  in_flight_.clear();
  closed_.clear();
  for (auto& [id, running] : requests_) take_blocks_away(running);
  table_.clear();
}

std::vector<EngineEvent> EngineState::halt(const std::string& crashed) {
  std::vector<EngineEvent> events;
  std::set<std::uint64_t> suspects;
  for (const auto& [id, running] : requests_) {
    replays_ += running.begun;
    replayed_tokens_ += running.computed();
  }
  if (!crashed.empty()) {
    std::set<std::uint64_t> computed;
    for (const auto& [step, sent] : in_flight_) {
      for (const InFlight::Rows& rows : sent.rows) computed.insert(rows.request);
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
  table_.resize(block_limits(limits));
  draft_costs_ = {};
  step_costs_ = {};
  halted_ = false;
}

void EngineState::resize(std::uint64_t positions_max) {
  limits_.positions_max = positions_max;
  table_.resize(block_limits(limits_));
  keep_within_limits();
}

std::vector<EngineEvent> EngineState::fail_all(const Status& why) {
  std::vector<EngineEvent> events;
  in_flight_.clear();
  while (!requests_.empty()) end(requests_.begin()->first, "error", why, &events);
  closed_.clear();
  table_.clear();
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
    out.prompt_tok_s = static_cast<double>(running.prompt + running.resumed) / wait;
  }
  const std::size_t written = running.answered() - running.resumed;
  if (written > 1 && running.last_us > running.first_us) {
    out.decode_tok_s =
        static_cast<double>(written - 1) / seconds(running.first_us, running.last_us);
  }
  if (running.started_us != 0) {
    out.queue_ms = seconds(running.begin_us, running.started_us) * 1e3;
    if (running.first_us != 0) {
      out.prefill_ms = seconds(running.started_us, running.first_us) * 1e3;
    }
  }
  if (running.scored() > 0 && running.scores.size() == running.scored()) {
    out.prompt_logprobs = std::move(running.scores);
  }
  out.cached_tokens = static_cast<std::uint32_t>(running.cached.value_or(0));
  out.token_ids.assign(running.log.begin() + static_cast<std::ptrdiff_t>(running.prompt),
                       running.log.end());
  running.log.resize(running.prompt);
  out.prompt_ids = std::move(running.log);
  return out;
}

void EngineState::end(std::uint64_t id, std::string reason, const Status& error,
                      std::vector<EngineEvent>* events) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  if (found->second.begun) closed_.push_back(id);
  table_.release(found->second.blocks);
  shares_.end(found->second.asker);
  events->push_back({id, std::nullopt, finish(found->second, std::move(reason), error)});
  requests_.erase(found);
  turn_.erase(std::find(turn_.begin(), turn_.end(), id));
}

std::vector<NamedUse> EngineState::asker_uses() const {
  std::map<std::string_view, std::set<BlockNumber>> held;
  for (const auto& [id, running] : requests_) {
    held[running.request.owner].insert(running.blocks.blocks.begin(), running.blocks.blocks.end());
  }
  const std::map<std::string, std::uint64_t> idle = table_.idle_by_owner();
  std::vector<NamedUse> uses = asker_uses_.all();
  for (NamedUse& one : uses) {
    if (const auto at = held.find(one.owner); at != held.end()) {
      one.use.blocks_in_use = at->second.size();
    }
    if (const auto at = idle.find(one.owner); at != idle.end()) one.use.blocks_idle = at->second;
  }
  return uses;
}

std::size_t EngineState::waiting() const {
  return static_cast<std::size_t>(std::count_if(
      requests_.begin(), requests_.end(), [](const auto& entry) { return !entry.second.begun; }));
}

}  // namespace troupe::actors
