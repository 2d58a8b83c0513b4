#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/actors/messages/step.h>
#include <troupe/runtime/machine/thread_pool.h>
#include <troupe/runtime/status.h>

// The last stage reduces rows of logits to what the engine asked for: how likely the model finds
// the ids that a prompt already has. So no row of logits leaves the process. The worker calls it on
// the device's thread.

namespace troupe::actors {

// True if a segment has rows to score.
inline bool is_scored(const StepSegment& segment) {
  return segment.scored_begin < segment.scored_end;
}

// Errors: kBadData if the scored rows are not the segment's, if they ask for more likeliest ids
// than kLogprobsMax, or if an id that follows them is outside the vocabulary.
Status check_scored(const StepSegment& segment, std::span<const model::TokenId> ids,
                    std::size_t vocabulary);

// Scores the rows of one segment, which passed check_scored(). The threads share the rows.
//   ids     (segment.count) the ids of its rows
//   logits  (segment.count, vocabulary) f32
//   Errors: kBadData if a log-probability is not a number.
Result<ScoredPrompt> score_rows(const StepSegment& segment, std::span<const model::TokenId> ids,
                                std::span<const float> logits, ThreadPool& pool);

}  // namespace troupe::actors
