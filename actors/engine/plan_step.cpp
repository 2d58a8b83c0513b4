#include <algorithm>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/engine/prompt_rows.h>

// How EngineState plans a step: whose rows go into it, and in which blocks they lie.

namespace troupe::actors {
namespace {

// Rows of prompts beside answers, before any step has shown what they cost.
constexpr std::size_t kUnmeasuredRows = 32;

bool has_rows_of(const Step& step, std::uint64_t request) {
  return std::any_of(step.segments.begin(), step.segments.end(),
                     [&](const StepSegment& segment) { return segment.request == request; });
}

}  // namespace

// Says which rows of a segment are scored: those before an id of the prompt that has no score yet.
void EngineState::score_rows(const Running& running, StepSegment* segment) {
  const std::size_t begin = std::max<std::size_t>(segment->position, running.scores.size());
  const std::size_t end =
      std::min<std::size_t>(segment->position + segment->count, running.scored());
  if (begin >= end) return;
  segment->scored_begin = static_cast<std::uint32_t>(begin - segment->position);
  segment->scored_end = static_cast<std::uint32_t>(end - segment->position);
  segment->scored_top = running.request.prompt_logprobs;
  segment->next = running.log[end];
}

void EngineState::add_rows(Running& running, std::size_t count, Step* step, const Draft& draft) {
  const std::size_t end = running.sent + count;
  const auto ids_begin = running.log.begin() + static_cast<std::ptrdiff_t>(running.sent);
  StepSegment segment;
  segment.request = running.request.id;
  segment.position = static_cast<std::uint32_t>(running.sent);
  segment.count = static_cast<std::uint32_t>(count + draft.ids.size());
  segment.drafted = static_cast<std::uint32_t>(draft.ids.size());
  segment.turn = running.turn++;
  segment.prompt = static_cast<std::uint32_t>(running.prompt);
  segment.sample = end == running.log.size() && running.request.max_tokens > 0;
  segment.sampling = running.request.sampling;
  segment.begins = !running.begun;
  if (segment.begins && segment.sampling.has_penalties()) {
    segment.history.assign(running.log.begin(), ids_begin);
  }
  segment.blocks.assign(running.blocks.blocks.begin() +
                            static_cast<std::ptrdiff_t>(segment.begins ? 0 : running.told),
                        running.blocks.blocks.end());
  score_rows(running, &segment);
  step->token_ids.insert(step->token_ids.end(), ids_begin,
                         ids_begin + static_cast<std::ptrdiff_t>(count));
  step->token_ids.insert(step->token_ids.end(), draft.ids.begin(), draft.ids.end());
  table_.enter(running.blocks, running.log);
  for (const FilledBlock& filled : table_.filled_by(running.blocks, running.sent, end)) {
    filling_.push_back(filled);
  }
  step->segments.push_back(std::move(segment));
  running.begun = true;
  running.told = running.blocks.blocks.size();
  running.sent = end;
  running.waiting = step->segments.back().sample;
  running.drafted = draft.ids.size();
  running.matched = draft.matched;
  if (const std::size_t rows = std::min(end, running.prompt); rows > running.charged) {
    const std::size_t known = std::max(running.charged, end - count);
    if (rows > known) shares_.charge(running.asker, rows - known);
    running.charged = rows;
  }
  if (running.waiting) running.asked = next_step_;
  if (running.drafted > 0) {
    draft_counters_.drafted += running.drafted;
    asker_uses_.of(running.request.owner).drafted += running.drafted;
  }
}

std::size_t EngineState::begun() const { return requests_.size() - waiting(); }

EngineState::Running* EngineState::first_to_give_way(const Running* running, const Step& step) {
  Running* found = nullptr;
  for (auto& [id, other] : requests_) {
    if (!other.begun || has_rows_of(step, id)) continue;
    if (running != nullptr && !keeps_memory(*running, other)) continue;
    if (found == nullptr || keeps_memory(*found, other)) found = &other;
  }
  return found;
}

void EngineState::take_blocks_away(Running& running) {
  table_.release(running.blocks);
  running.begun = running.waiting = false;
  running.sent = running.told = running.drafted = 0;
  running.turn = 0;
  running.place = ~std::uint64_t{0};
  ++running.run;
}

bool EngineState::preempt(std::uint64_t request) {
  const auto found = requests_.find(request);
  if (found == requests_.end() || !found->second.begun) return false;
  ++block_counters_.preemptions;
  ++asker_uses_.of(found->second.request.owner).preemptions;
  block_counters_.preempted_positions += found->second.computed();
  take_blocks_away(found->second);
  closed_.push_back(request);
  return true;
}

void EngineState::keep_within_limits() {
  while (table_.is_over() && begun() > 1) {
    preempt(first_to_give_way(nullptr, Step{})->request.id);
  }
}

bool EngineState::give_way(const std::vector<std::uint64_t>& requests) {
  const std::uint64_t held = table_.in_use() + table_.idle();
  if (held < 2 || (begun() < 2 && table_.idle() == 0)) return false;
  for (const std::uint64_t request : requests) preempt(request);
  // Assume one block less than what did not fit. If the machine has even less, the stage reports
  // that again.
  resize((held - 1) * kBlockPositions);
  return true;
}

std::size_t EngineState::make_room(Running& running, std::size_t end, const Step& step) {
  const std::size_t wanted =
      blocks_of(end) - std::min(blocks_of(end), running.blocks.blocks.size());
  while (table_.available() < wanted) {
    const Running* victim = first_to_give_way(&running, step);
    if (victim == nullptr) break;
    preempt(victim->request.id);
  }
  // A request that is alone goes on in any case: if nodes were lost, there may be less memory than
  // when it was admitted.
  const bool alone = begun() == (running.begun ? 1u : 0u);
  const std::size_t count =
      alone ? wanted
            : static_cast<std::size_t>(std::min<std::uint64_t>(wanted, table_.available()));
  TROUPE_CHECK(table_.take(running.blocks, count, alone), "blocks that are there cannot be taken");
  return std::min(end, running.blocks.blocks.size() * kBlockPositions);
}

std::uint64_t EngineState::room_to_start(const Running& running, const SharedPrefix& prefix) {
  return blocks_of(running.log.size() + 1) - prefix.blocks.size() + prefix.idle;
}

std::uint64_t EngineState::needed_soon() const {
  std::uint64_t needed = 0;
  for (const auto& [id, other] : requests_) {
    if (!other.begun) continue;
    // The request needs blocks for its ids, for the next one, and one block more, but never more
    // than the whole request may have.
    const std::size_t most = std::min(other.prompt + other.request.max_tokens,
                                      std::max(other.request.context, other.log.size()));
    const std::size_t soon = blocks_of(std::min(other.log.size() + 1 + kBlockPositions, most));
    needed += soon - std::min(soon, other.blocks.blocks.size());
  }
  return needed;
}

bool EngineState::start(Running& running) {
  const SharedPrefix prefix = table_.find(running.blocks, running.findable());
  if (prefix.computing) return false;
  const std::uint64_t needed = room_to_start(running, prefix) + needed_soon();
  if (begun() > 0 && needed > table_.available()) return false;
  table_.share(running.blocks, prefix);
  running.place = next_place_++;
  running.sent = prefix.blocks.size() * kBlockPositions;
  if (!running.cached) running.cached = std::min(running.sent, running.prompt);
  block_counters_.queried += running.log.size() - 1;
  block_counters_.found += running.sent;
  AskerUse& use = asker_uses_.of(running.request.owner);
  use.prefix_queried += running.log.size() - 1;
  use.prefix_found += running.sent;
  return true;
}

bool EngineState::will_compute(const Running& older, const Running& running,
                               std::size_t block) const {
  const std::size_t end = (block + 1) * kBlockPositions;
  if (older.blocks.is_private || older.log.size() < end || running.findable().size() <= end) {
    return false;
  }
  const bool is_public = block < older.blocks.public_blocks;
  if (is_public != (block < running.blocks.public_blocks)) return false;
  if (!is_public && *older.blocks.domain != *running.blocks.domain) return false;
  const auto stop = running.log.begin() + static_cast<std::ptrdiff_t>(end);
  return std::equal(running.log.begin(), stop, older.log.begin());
}

std::vector<EngineState::Prompt> EngineState::prompts_to_compute() {
  std::vector<Prompt> prompts;
  std::uint64_t promised = needed_soon();
  bool alone = begun() == 0;
  for (Running* next : in_turn()) {
    Running& running = *next;
    if (running.begun) {
      if (running.sent < running.wanted()) {
        prompts.push_back({&running, running.wanted() - running.sent, running.sent});
      }
      continue;
    }
    const SharedPrefix prefix = table_.find(running.blocks, running.findable());
    // A request waits for a block that another one computes, or is about to compute.
    const auto is_ahead = [&](const Prompt& older) {
      return will_compute(*older.running, running, prefix.blocks.size());
    };
    if (prefix.computing || std::any_of(prompts.begin(), prompts.end(), is_ahead)) continue;
    // No request overtakes one that waits for memory, which would then wait for ever.
    promised += room_to_start(running, prefix);
    if (!alone && promised > table_.available()) break;
    alone = false;
    const std::size_t shared = prefix.blocks.size() * kBlockPositions;
    prompts.push_back({&running, running.wanted() - shared, shared});
  }
  return prompts;
}

void EngineState::add_decode_rows(Step* step) {
  // Blocks are taken away before any row is in the step, because a block that is taken away may be
  // given to another request in the same step.
  for (auto& [id, running] : requests_) {
    if (running.ready()) make_room(running, running.sent + 1, *step);
  }
  const auto has_block = [](const Running& running) {
    return running.sent < running.blocks.blocks.size() * kBlockPositions;
  };
  std::size_t decoding = 0, ready = 0;
  bool prompts = false;
  for (const auto& [id, running] : requests_) {
    decoding += running.decoding();
    ready += running.ready() && has_block(running);
    prompts = prompts || (!running.decoding() && !running.waiting && may_start(running));
  }
  std::size_t share = (decoding + limits_.stages - 1) / limits_.stages;
  share = std::min(share, limits_.rows_max);
  // While every stage has a step, rows wait for the rest of their share, because a step of few rows
  // reads as many weights as one of many.
  if (!(prompts && may_add_prompts()) && ready < share && in_flight_.size() >= limits_.stages)
    return;
  const std::size_t requests = std::min(ready, share);
  std::size_t drafts = prompts || decoding > kDraftRequestsMax ? 0 : kDraftIdsMax;
  for (std::size_t i = 0, n = turn_.size(); i < n && step->segments.size() < share; ++i) {
    const std::uint64_t id = turn_.front();
    turn_.pop_front();
    turn_.push_back(id);
    Running& running = requests_.at(id);
    if (!running.ready() || !has_block(running)) continue;
    const Draft draft = draft_for(running, requests, drafts);
    drafts -= draft.ids.size();
    add_rows(running, 1, step, draft);
  }
}

void EngineState::add_prompt_rows(Step* step) {
  PromptBudget budget;
  budget.rows = std::min(limits_.chunk_rows, limits_.rows_max - step->token_ids.size());
  if (budget.rows == 0 || !may_add_prompts()) return;
  const std::vector<Prompt> prompts = prompts_to_compute();
  if (prompts.empty()) return;
  const StepRows answers = answer_rows();
  PromptRowCost costs;  // without a bound on the time, all rows count the same
  if (times_prompts()) {
    costs = step_costs_.of_prompt_row();
    budget.cost = step_costs_.prompt_budget_us(answers.answers, answers.answers_depth);
  } else {
    const bool unmeasured = limits_.stages == 1;
    if (unmeasured && answers.answers > 0) budget.rows = std::min(budget.rows, kUnmeasuredRows);
    budget.cost = static_cast<double>(budget.rows);
  }
  std::vector<PromptLeft> left;
  for (const Prompt& prompt : prompts) left.push_back({prompt.left, prompt.first});
  std::vector<std::size_t> rows = share_prompt_rows(left, budget, costs);
  std::size_t scored_left = std::max<std::size_t>(1, kScoredLogitsMax / tokenizer_->vocabulary());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Running& running = *prompts[i].running;
    const bool is_scored = running.scores.size() < running.scored();
    if (is_scored) rows[i] = std::min(rows[i], scored_left);
    if (rows[i] == 0) continue;
    if (!running.begun && !(may_start(running) && start(running))) continue;
    const std::size_t wanted = std::min(running.wanted(), running.sent + rows[i]);
    const std::size_t end = make_room(running, wanted, *step);
    if (end <= running.sent) continue;
    if (is_scored) scored_left -= end - running.sent;
    add_rows(running, end - running.sent, step);
  }
}

PlannedStep EngineState::seal(Step step, std::int64_t now_us) {
  step.closed = std::move(closed_);
  closed_.clear();
  step.freed = table_.take_freed();
  PlannedStep planned{next_step_++, std::move(step)};
  const bool alone = in_flight_.empty();
  InFlight& sent = in_flight_[planned.id];
  sent.sent_us = now_us;
  bool answers = true;
  std::size_t drafted = 0;
  for (const StepSegment& segment : planned.step.segments) {
    Running& running = requests_.at(segment.request);
    sent.rows.push_back({segment.request, running.run, segment.drafted});
    answers = answers && segment.sample && segment.count == segment.drafted + 1;
    drafted += segment.drafted;
    const double depth = segment.count * (segment.position + (segment.count - 1) / 2.0);
    const bool is_answer = segment.count == 1 && segment.position >= segment.prompt;
    (is_answer ? sent.costs.answers : sent.costs.prompts) += segment.count;
    (is_answer ? sent.costs.answers_depth : sent.costs.prompts_depth) += depth;
    if (running.started_us == 0) running.started_us = now_us;
  }
  if (alone && answers && !sent.rows.empty()) sent.timed_from_us = now_us;
  if (drafted > 0) sent.costs = {};  // drafts.h learns what drafted rows cost
  sent.filled = std::move(filling_);
  filling_.clear();
  sent.closed = planned.step.closed;
  sent.freed = planned.step.freed;
  return planned;
}

std::optional<PlannedStep> EngineState::next_step(std::int64_t now_us) {
  if (halted_ || in_flight_.size() >= limits_.steps_in_flight_max) return std::nullopt;
  Step step;
  make_way();
  add_decode_rows(&step);
  add_prompt_rows(&step);
  if (step.segments.empty() && closed_.empty() && !table_.has_freed()) return std::nullopt;
  return seal(std::move(step), now_us);
}

// Says whether a request may start. Suspects run one at a time, so that a crash shows which one is
// to blame.
bool EngineState::may_start(const Running& running) const {
  if (!running.suspect() || running.begun) return true;
  return std::none_of(requests_.begin(), requests_.end(), [](const auto& entry) {
    return entry.second.suspect() && entry.second.begun;
  });
}

Status EngineState::check() const {
  std::vector<const BlockSequence*> sequences;
  for (const auto& [id, running] : requests_) {
    const std::string name = "request " + std::to_string(id);
    if (!running.begun) {
      if (running.blocks.blocks.empty() && running.sent == 0) continue;
      return Status(Code::kInternal, name + " has blocks and no sequence");
    }
    if (running.drafted > 0 && !running.waiting) {
      return Status(Code::kInternal, name + " has drafted rows that no step brings");
    }
    if (running.sent + running.drafted > running.blocks.blocks.size() * kBlockPositions) {
      return Status(Code::kInternal, name + " has rows without a block");
    }
    if (running.sent < running.blocks.shared * kBlockPositions) {
      return Status(Code::kInternal, name + " writes into its shared blocks");
    }
    if (table_.ready_end(running.blocks) > running.sent) {
      return Status(Code::kInternal, name + " has drafted rows in a block that others may share");
    }
    sequences.push_back(&running.blocks);
  }
  return table_.check(sequences);
}

}  // namespace troupe::actors
