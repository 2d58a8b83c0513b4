#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/actors/messages/step.h>
#include <troupe/runtime/status.h>

// The last stage chooses the tokens that follow the rows of a segment. Drafted ids are rows like
// others: a token is chosen after each of them as it would be without drafts, and it counts only as
// long as the tokens before it are the drafted ones. The worker calls it on the device's thread.

namespace troupe::actors {

// Checks that the drafted rows of a segment fit the others.
//   Errors: kBadData.
Status check_drafted(const StepSegment& segment);

// Appends the tokens that follow the rows: one, and one more for each drafted id that came true.
//   ids     (segment.count) the ids of its rows
//   logits  (segment.drafted + 1, vocabulary) f32, of its last rows
//   log     all ids up to the segment's last row, if the sampling has penalties
//   Errors: as model::sample().
Status sample_rows(const StepSegment& segment, std::span<const model::TokenId> ids,
                   std::span<const float> logits, std::span<const model::TokenId> log,
                   std::vector<SampledToken>* tokens);

}  // namespace troupe::actors
