#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/trace.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/params.h>

// One step of a deployment: "run your layers on these positions". Travels engine -> stage 0 -> ...
// -> last stage -> engine. Header: epoch and step id. Hidden states are the payload, f32
// (or f16, when the deployment rounds to it) little-endian (rows, C), rows in segment order; stage
// 0 computes from the token ids instead. The ids go with the step to the last stage, whose log of
// them is what penalties look at: a sequence that starts anew at position 0 brings its whole log
// again. A stage derives every shape from its own model.

namespace troupe::actors {

struct StepSegment {
  std::uint64_t request = 0;
  std::uint32_t position = 0;  // absolute, of the first row; 0 starts the sequence anew
  std::uint32_t count = 0;     // rows
  bool sample = false;         // choose the token that follows the last row
  model::SamplingParams sampling;
  template <class A>
  void serialize(A& a) {
    a(request, position, count, sample, sampling);
  }
};
struct Step {
  static constexpr MessageType kType = MessageType::kStep;
  std::vector<StepSegment> segments;
  std::vector<model::TokenId> token_ids;  // of the rows
  std::vector<std::uint64_t> closed;      // requests whose KV may go
  bool trace = false;                     // each stage is to say how long it took
  std::vector<StageTime> times;           // those before this one have
  template <class A>
  void serialize(A& a) {
    a(segments, token_ids, closed, trace, times);
  }
};

struct SampledToken {
  std::uint64_t request = 0;
  std::uint32_t position = 0;  // absolute position of the chosen token
  model::TokenId token = 0;
  std::vector<model::TokenLogprob> logprobs;  // the token's, then the likeliest; empty: not asked
  template <class A>
  void serialize(A& a) {
    a(request, position, token, logprobs);
  }
};
struct StepDone {
  static constexpr MessageType kType = MessageType::kStepDone;
  std::vector<SampledToken> tokens;
  std::vector<StageTime> times;  // of every stage, of a step that is traced
  template <class A>
  void serialize(A& a) {
    a(tokens, times);
  }
};
// A stage could not run the step: its requests end, the deployment goes on.
struct StepFailed {
  static constexpr MessageType kType = MessageType::kStepFailed;
  std::vector<std::uint64_t> requests;
  Outcome outcome;
  template <class A>
  void serialize(A& a) {
    a(requests, outcome);
  }
};

}  // namespace troupe::actors
