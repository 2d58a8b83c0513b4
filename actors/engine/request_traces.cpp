#include <troupe/actors/engine/request_traces.h>

namespace troupe::actors {

void RequestTraces::begin(std::uint64_t request, std::int64_t now_us) {
  Traced& traced = traced_[request];
  traced.begin_us = now_us;
  traced.trace.request = request;
}

void RequestTraces::sent(PlannedStep& planned, std::uint64_t epoch, std::int64_t now_us) {
  if (traced_.empty()) return;
  for (const StepSegment& segment : planned.step.segments) {
    const auto found = traced_.find(segment.request);
    if (found == traced_.end()) continue;
    Traced& traced = found->second;
    if (traced.trace.steps.size() >= kStepsMax) continue;
    planned.step.trace = true;
    TracedStep step;
    step.step = planned.id;
    step.epoch = epoch;
    step.position = segment.position;
    step.rows = segment.count;
    step.sent_us = static_cast<std::uint64_t>(now_us - traced.begin_us);
    traced.under_way[planned.id] = traced.trace.steps.size();
    traced.trace.steps.push_back(std::move(step));
  }
}

void RequestTraces::done(std::uint64_t step, const StepDone& done, std::int64_t now_us) {
  for (auto& [request, traced] : traced_) {
    const auto place = traced.under_way.extract(step);
    if (place.empty()) continue;
    TracedStep& noted = traced.trace.steps[place.mapped()];
    noted.done_us = static_cast<std::uint64_t>(now_us - traced.begin_us);
    noted.stages = done.times;
  }
}

void RequestTraces::lost(std::int64_t now_us) {
  for (auto& [request, traced] : traced_) {
    for (const auto& [step, place] : traced.under_way) {
      traced.trace.steps[place].lost = true;
      traced.trace.steps[place].done_us = static_cast<std::uint64_t>(now_us - traced.begin_us);
    }
    traced.under_way.clear();
  }
}

RequestTrace RequestTraces::end(std::uint64_t request, std::int64_t now_us) {
  auto found = traced_.extract(request);
  if (found.empty()) return {};
  Traced& traced = found.mapped();
  traced.trace.engine_us = static_cast<std::uint64_t>(now_us - traced.begin_us);
  // A request that ended early may have steps under way: nobody waits for them.
  for (const auto& [step, place] : traced.under_way) {
    traced.trace.steps[place].lost = true;
    traced.trace.steps[place].done_us = traced.trace.engine_us;
  }
  return std::move(traced.trace);
}

}  // namespace troupe::actors
