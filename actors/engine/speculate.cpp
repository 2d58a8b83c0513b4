#include <algorithm>

#include <troupe/actors/engine/engine_state.h>

// How EngineState speculates: drafted rows behind the newest token, and what becomes of them.

namespace troupe::actors {

Draft EngineState::draft_for(Running& running, std::size_t requests, std::size_t most) {
  if (limits_.speculation == Speculation::kOff || !running.request.speculates) return {};
  // The last token that the answer may have needs no row.
  const std::size_t tokens = std::min<std::size_t>(running.request.max_tokens - running.answered(),
                                                   running.request.context - running.log.size());
  most = std::min(most, tokens - 1);
  Draft draft = look_up_draft(running.log, most);
  if (!running.request.ignore_end) {
    const auto end = std::find_if(draft.ids.begin(), draft.ids.end(),
                                  [&](model::TokenId id) { return tokenizer_->is_end(id); });
    draft.ids.erase(end, draft.ids.end());
  }
  if (limits_.speculation == Speculation::kWhenItPays) {
    draft.ids.resize(running.drafts.length(draft, requests, draft_costs_));
  }
  // Drafted rows take a block that is there anyway, and nobody gives way to them.
  BlockSequence& blocks = running.blocks;
  const std::size_t end = running.sent + 1 + draft.ids.size();
  if (end > blocks.blocks.size() * kBlockPositions) (void)table_.take(blocks, 1, false);
  const std::size_t room = blocks.blocks.size() * kBlockPositions - running.sent - 1;
  draft.ids.resize(std::min(draft.ids.size(), room));
  return draft;
}

void EngineState::accept_drafted_row(Running& running) {
  ++running.sent;
  --running.drafted;
  ++draft_counters_.accepted;
  ++asker_uses_.of(running.request.owner).accepted;
  if (running.sent % kBlockPositions != 0) return;
  table_.enter(running.blocks, running.log);
  table_.fill(table_.filled_by(running.blocks, running.sent - 1, running.sent));
}

void EngineState::note_draft_costs(const InFlight& sent, std::int64_t now_us) {
  // A stage may first have had to compute another step that was sent meanwhile.
  if (!sent.timed_from_us || !in_flight_.empty()) return;
  std::size_t drafted = 0;
  for (const InFlight::Rows& rows : sent.rows) drafted += rows.drafted;
  draft_costs_.note(sent.rows.size(), drafted, now_us - *sent.timed_from_us);
}

bool EngineState::compute_without_drafts(const InFlight& sent,
                                         const std::vector<std::uint64_t>& requests) {
  const bool has_drafts = std::any_of(sent.rows.begin(), sent.rows.end(),
                                      [](const InFlight::Rows& rows) { return rows.drafted > 0; });
  if (!has_drafts) return false;
  for (const std::uint64_t request : requests) {
    const auto found = requests_.find(request);
    if (found == requests_.end()) continue;
    found->second.request.speculates = false;
    preempt(request);
  }
  return true;
}

}  // namespace troupe::actors
