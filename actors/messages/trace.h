#pragma once

#include <cstdint>
#include <string>
#include <vector>

// Where the time of one traced request went. Stages measure durations, each on its own clock, and
// say them with the step; moments are the engine's alone, so that no two clocks are ever compared.

namespace troupe::actors {

struct StageTime {
  std::string stage;           // "node-1 0-9": the node and its layers
  std::uint32_t queue_us = 0;  // from when the step came until the device began with it
  std::uint32_t compute_us = 0;
  template <class A>
  void serialize(A& a) {
    a(stage, queue_us, compute_us);
  }
};
// One step that had rows of the request. What is left of its time when the stages' is taken off
// was spent between them.
struct TracedStep {
  std::uint64_t step = 0, epoch = 0;
  std::uint32_t position = 0, rows = 0;    // of the request's own
  std::uint64_t sent_us = 0, done_us = 0;  // since the engine took the request
  bool lost = false;                       // a stage was lost: it was computed again
  std::vector<StageTime> stages;           // in their order
  template <class A>
  void serialize(A& a) {
    a(step, epoch, position, rows, sent_us, done_us, lost, stages);
  }
};
struct RequestTrace {
  std::uint64_t request = 0;    // as the head's and the nodes' logs call it; 0: not traced
  std::uint64_t engine_us = 0;  // from when the engine took it to its end
  std::vector<TracedStep> steps;
  template <class A>
  void serialize(A& a) {
    a(request, engine_us, steps);
  }
};

}  // namespace troupe::actors
