#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/trace.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/params.h>

// One step of a deployment: "run your layers on these positions". It travels engine -> stage 0 ->
// ... -> last stage -> engine. The frame's header has the epoch and the step id. The payload holds
// the hidden states, f32 (or f16 if the deployment rounds to it) little-endian (rows, C), rows in
// segment order; stage 0 computes from the token ids instead. The ids travel with the step to the
// last stage, which keeps a log of them for penalties. A stage derives every shape from its own
// model.
//
// Keys and values lie in numbered blocks of kernels::kPageKeys positions, which the engine's block
// table hands out (actors/engine/block_table.h). A stage does what a step says in this order: it
// ends the sequences of `closed`, gives back the memory of `freed`, and takes the blocks of each
// segment. A number that is taken anew means a zeroed block, whatever the block held before.

namespace troupe::actors {

struct StepSegment {
  std::uint64_t request = 0;
  std::uint32_t position = 0;  // absolute, of the first row
  std::uint32_t count = 0;     // number of rows
  std::uint32_t prompt = 0;    // positions of the prompt; those from here on are the answer's
  bool sample = false;         // choose the token that follows the last row
  model::SamplingParams sampling;
  // The sequence begins anew. If `position` is not 0, it is a multiple of kPageKeys, and the first
  // blocks hold the keys and values of the positions before it: nobody writes these any more.
  bool begins = false;
  // The numbers of all blocks of the sequence if it begins, else of those that are added to it.
  // The blocks from `position` on are taken anew.
  std::vector<std::uint32_t> blocks = {};
  // The ids before `position`, if the sequence begins at a shared position and has penalties.
  std::vector<model::TokenId> history = {};
  // Rows [scored_begin, scored_end), counted from the segment's first, are scored: ScoredPrompt
  // says how likely the model finds the id that follows each of them, and which `scored_top` ids it
  // finds likeliest there. The id that follows the segment's last row is `next`.
  std::uint32_t scored_begin = 0, scored_end = 0, scored_top = 0;
  model::TokenId next = 0;
  // The ids of this number of last rows are drafted. With them, a token is chosen after the last
  // row before them and after each of them, for as long as the token is the next row's id. The next
  // step of the request says by its `position` how many of them came true: a stage forgets the
  // rows from there on. `turn`, the number of segments that the sequence had before this one, shows
  // that no step was lost in between.
  std::uint32_t drafted = 0, turn = 0;
  template <class A>
  void serialize(A& a) {
    a(request, position, count, prompt, sample, sampling, begins, blocks, history, scored_begin,
      scored_end, scored_top, next, drafted, turn);
  }
};
struct Step {
  static constexpr MessageType kType = MessageType::kStep;
  std::vector<StepSegment> segments;
  std::vector<model::TokenId> token_ids;  // one a row
  std::vector<std::uint64_t> closed;      // requests whose sequences end
  std::vector<std::uint32_t> freed;       // blocks whose memory may be given back
  bool trace = false;                     // each stage should add how long it took
  std::vector<StageTime> times;           // of the stages that have run the step
  template <class A>
  void serialize(A& a) {
    a(segments, token_ids, closed, freed, trace, times);
  }
};

struct SampledToken {
  std::uint64_t request = 0;
  std::uint32_t position = 0;  // absolute position of the chosen token
  model::TokenId token = 0;
  std::vector<model::TokenLogprob>
      logprobs;  // this token's, then the likeliest; empty if not asked
  template <class A>
  void serialize(A& a) {
    a(request, position, token, logprobs);
  }
};
// What the scored rows of a segment say about the ids that follow them.
struct ScoredPrompt {
  std::uint64_t request = 0;
  std::uint32_t position = 0;  // absolute, of the first of these ids
  // Of each id its own log-probability, then those of the likeliest ids there.
  std::vector<std::vector<model::TokenLogprob>> logprobs;
  template <class A>
  void serialize(A& a) {
    a(request, position, logprobs);
  }
};
struct StepDone {
  static constexpr MessageType kType = MessageType::kStepDone;
  std::vector<SampledToken> tokens;  // several of a request are in order
  std::vector<ScoredPrompt> scored;
  std::vector<StageTime> times;  // of every stage, if the step is traced
  template <class A>
  void serialize(A& a) {
    a(tokens, scored, times);
  }
};
// A stage could not run the step: the requests in it end, the deployment continues. If memory was
// short for their blocks, the engine computes them again with fewer blocks.
struct StepFailed {
  static constexpr MessageType kType = MessageType::kStepFailed;
  std::vector<std::uint64_t> requests;
  Outcome outcome;
  bool no_memory = false;  // the machine has less than the engine was told
  template <class A>
  void serialize(A& a) {
    a(requests, outcome, no_memory);
  }
};

}  // namespace troupe::actors
