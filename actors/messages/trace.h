#pragma once

#include <cstdint>
#include <string>
#include <vector>

// Where the time of one traced request went. Each stage measures durations on its own clock and
// sends them with the step; only the engine records moments, so that two clocks are never compared.

namespace troupe::actors {

struct StageTime {
  std::string stage;           // "node-1 0-9": the node and its layers
  std::uint32_t queue_us = 0;  // from when the step came until the device began to run it
  std::uint32_t compute_us = 0;
  template <class A>
  void serialize(A& a) {
    a(stage, queue_us, compute_us);
  }
};
// One step that had rows of the request. The time that no stage accounts for was spent between the
// stages.
struct TracedStep {
  std::uint64_t step = 0, epoch = 0;
  std::uint32_t position = 0, rows = 0;    // counting only the rows of this request
  std::uint64_t sent_us = 0, done_us = 0;  // since the engine took the request
  bool lost = false;                       // a stage was lost, and the step was computed again
  std::vector<StageTime> stages;           // in the order of the stages
  template <class A>
  void serialize(A& a) {
    a(step, epoch, position, rows, sent_us, done_us, lost, stages);
  }
};
struct RequestTrace {
  std::uint64_t request = 0;    // its number in the logs of the head and the nodes; 0: not traced
  std::uint64_t engine_us = 0;  // from when the engine took the request to its end
  std::vector<TracedStep> steps;
  template <class A>
  void serialize(A& a) {
    a(request, engine_us, steps);
  }
};

}  // namespace troupe::actors
