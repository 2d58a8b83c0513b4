#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/messages/trace.h>

// Records where the time of traced requests went, as their engine sees it. Pure; used by the
// engine's actor.

namespace troupe::actors {

class RequestTraces {
 public:
  // The number of steps of a request that are kept; later ones are left out.
  static constexpr std::size_t kStepsMax = 10'000;

  void begin(std::uint64_t request, std::int64_t now_us);
  // Called before a step is sent: marks the step if it has rows of a traced request.
  void sent(PlannedStep& planned, std::uint64_t epoch, std::int64_t now_us);
  void done(std::uint64_t step, const StepDone& done, std::int64_t now_us);
  // Records that every step under way is lost.
  void lost(std::int64_t now_us);
  // Called when the request has ended; returns an empty trace if it was not to be traced.
  RequestTrace end(std::uint64_t request, std::int64_t now_us);

 private:
  struct Traced {
    std::int64_t begin_us = 0;
    RequestTrace trace;
    std::map<std::uint64_t, std::size_t> under_way;  // step -> its place in trace.steps
  };
  std::map<std::uint64_t, Traced> traced_;
};

}  // namespace troupe::actors
