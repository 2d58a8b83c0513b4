#include <algorithm>
#include <deque>
#include <map>

#include <troupe/actors/engine/engine_state.h>

// Whose turn it is in EngineState: which requests start first, and which give way.

namespace troupe::actors {
namespace {

constexpr double kEndsAverage = 0.1;  // the weight of a new sample
constexpr double kBetweenEndsLeastUs = 1e3, kBetweenEndsMostUs = 6e7;
constexpr std::int64_t kWaitLeastUs = 1'000'000, kWaitMostUs = 300'000'000;

}  // namespace

std::string EngineState::asker_of(const EngineRequest& request) {
  return (request.priority >= kJobPriority ? "job " : "") +
         (request.sharer.empty() ? request.owner : request.sharer);
}

Status EngineState::check_share(const EngineRequest& request) const {
  if (!request.answer.empty()) return Status::ok();  // the answer continues, and had a place before
  const std::size_t most = limits_.requests_max;
  const bool is_scarce = requests_.size() >= most - most / 8;
  if (!is_scarce || shares_.requests(asker_of(request)) <= most / 2) return Status::ok();
  return Status(Code::kResourceExhausted,
                "the requests of one asker hold more than half of the " + std::to_string(most) +
                    " places of the engine, and the last ones are for others; try again when some "
                    "have ended");
}

bool EngineState::keeps_memory(const Running& one, const Running& other) {
  if (one.request.priority != other.request.priority) {
    return one.request.priority < other.request.priority;
  }
  if (one.place != other.place) return one.place < other.place;
  return one.request.id < other.request.id;
}

double EngineState::expected_cost(const Running& running) const {
  const double tokens = std::min<double>(running.request.max_tokens, usual_tokens_);
  const double answered = static_cast<double>(running.answered());
  const double rows =
      static_cast<double>(running.prompt - std::min(running.prompt, running.charged));
  return rows + std::max(1.0, tokens - answered);
}

std::vector<EngineState::Running*> EngineState::in_turn() {
  struct Group {
    std::vector<Running*> begun;
    std::map<std::string_view, std::deque<Running*>> waiting;  // by asker, the oldest first
  };
  std::map<std::int32_t, Group> groups;  // by priority
  for (auto& [id, running] : requests_) {
    if (running.decoding() || running.waiting || !may_start(running)) continue;
    Group& group = groups[running.request.priority];
    if (running.begun) {
      group.begun.push_back(&running);
    } else {
      group.waiting[running.asker].push_back(&running);
    }
  }
  std::vector<Running*> order;
  std::map<std::string_view, double> more;  // the cost of what each asker has begun
  for (const auto& [priority, group] : groups) {
    if (group.waiting.empty()) continue;
    for (const auto& [id, running] : requests_) {
      if (running.begun) more[running.asker] += expected_cost(running);
    }
    break;
  }
  for (auto& [priority, group] : groups) {
    order.insert(order.end(), group.begun.begin(), group.begun.end());
    while (!group.waiting.empty()) {
      const auto had = [&](const auto& entry) {
        return shares_.had(entry.second.front()->asker, more[entry.first]);
      };
      auto next = group.waiting.begin();
      for (auto at = std::next(next); at != group.waiting.end(); ++at) {
        const double a = had(*at), b = had(*next);
        const bool older = at->second.front()->request.id < next->second.front()->request.id;
        if (a < b || (a == b && older)) next = at;
      }
      Running* running = next->second.front();
      order.push_back(running);
      more[next->first] += expected_cost(*running);
      next->second.pop_front();
      if (next->second.empty()) group.waiting.erase(next);
    }
  }
  return order;
}

void EngineState::make_way() {
  if (waiting() == 0 || begun() == 0) return;
  std::uint64_t promised = 0;  // blocks that are promised to requests that go before
  for (Running* next : in_turn()) {
    Running& running = *next;
    if (running.begun) continue;
    const SharedPrefix prefix = table_.find(running.blocks, running.findable());
    if (prefix.computing) continue;
    promised += room_to_start(running, prefix);
    while (begun() > 0 && promised + needed_soon() > table_.available()) {
      const Running* victim = first_to_give_way(&running, Step{});
      if (victim == nullptr || victim->request.priority == running.request.priority) return;
      preempt(victim->request.id);
    }
  }
}

// Returns false for a path of several stages, whose chunks are short already, so that its stages
// work at the same time.
bool EngineState::times_prompts() const { return limits_.stages == 1 && step_costs_.is_known(); }

bool EngineState::may_add_prompts() const {
  if (!times_prompts()) return true;
  // If a whole chunk takes no longer than any step may, no request has to wait for another one.
  const double chunk_us = step_costs_.of_prompt_row().of(0, limits_.chunk_rows);
  if (chunk_us <= step_costs_.prompt_budget_us(1, 0)) return true;
  const bool answers = std::any_of(requests_.begin(), requests_.end(),
                                   [](const auto& entry) { return entry.second.decoding(); });
  const auto has_prompts = [](const auto& entry) { return entry.second.costs.prompts > 0; };
  const auto under_way =
      static_cast<std::size_t>(std::count_if(in_flight_.begin(), in_flight_.end(), has_prompts));
  return !answers || under_way < limits_.stages;
}

StepRows EngineState::answer_rows() const {
  StepRows rows;
  for (const auto& [id, running] : requests_) {
    if (!running.decoding()) continue;
    ++rows.answers;
    rows.answers_depth += static_cast<double>(running.log.size());
  }
  rows.answers_depth /= static_cast<double>(limits_.stages);
  rows.answers = (rows.answers + limits_.stages - 1) / limits_.stages;
  return rows;
}

void EngineState::note_ends(const std::vector<EngineEvent>& events, std::int64_t now_us) {
  for (const EngineEvent& event : events) {
    if (!event.finished) continue;
    const auto tokens = static_cast<double>(event.finished->token_ids.size());
    usual_tokens_ += kEndsAverage * (tokens - usual_tokens_);
    if (ended_us_ != 0) {
      const double took = static_cast<double>(now_us - ended_us_);
      between_ends_us_ += kEndsAverage * (took - between_ends_us_);
    }
    ended_us_ = now_us;
  }
}

std::int64_t EngineState::wait_for_place_us(std::int64_t now_us) {
  const double between = std::clamp(between_ends_us_, kBetweenEndsLeastUs, kBetweenEndsMostUs);
  promised_us_ = std::max(promised_us_, now_us) + static_cast<std::int64_t>(between);
  promised_us_ = std::min(promised_us_, now_us + kWaitMostUs);
  return std::max(kWaitLeastUs, promised_us_ - now_us);
}

}  // namespace troupe::actors
