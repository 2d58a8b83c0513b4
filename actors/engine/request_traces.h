#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/messages/trace.h>
#include <troupe/runtime/log.h>

// What an engine notes of the requests that are to be traced, and of all of them in the log. Pure
// but for the log; used by the engine's actor.

namespace troupe::actors {

// A line that is found by its request in the log of every daemon: "request=17 TEXT".
void log_request(LogLevel level, std::uint64_t request, const std::string& text);

class RequestTraces {
 public:
  // Steps of one request that are kept; later ones are left out.
  static constexpr std::size_t kStepsMax = 10'000;

  void begin(std::uint64_t request, std::int64_t now_us);
  // Before a step is sent: marks it when it has rows of a traced request.
  void sent(PlannedStep& planned, std::uint64_t epoch, std::int64_t now_us);
  void done(std::uint64_t step, const StepDone& done, std::int64_t now_us);
  // Every step under way is lost.
  void lost(std::int64_t now_us);
  // The request has ended; an empty trace when it was not to be traced.
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
