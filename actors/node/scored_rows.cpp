#include <cmath>
#include <string>

#include <troupe/actors/node/scored_rows.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/params.h>

namespace troupe::actors {
namespace {

// Returns the id that follows a row of the segment.
model::TokenId id_after(const StepSegment& segment, std::span<const model::TokenId> ids,
                        std::size_t row) {
  return row + 1 < ids.size() ? ids[row + 1] : segment.next;
}

}  // namespace

Status check_scored(const StepSegment& segment, std::span<const model::TokenId> ids,
                    std::size_t vocabulary) {
  if (!is_scored(segment)) return Status::ok();
  if (segment.scored_end > segment.count ||
      segment.scored_top > model::SamplingParams::kLogprobsMax) {
    return Status(Code::kBadData, "a step scores rows " + std::to_string(segment.scored_begin) +
                                      " to " + std::to_string(segment.scored_end) + " of a " +
                                      "segment of " + std::to_string(segment.count) + " with " +
                                      std::to_string(segment.scored_top) + " likeliest ids");
  }
  for (std::size_t row = segment.scored_begin; row < segment.scored_end; ++row) {
    const model::TokenId id = id_after(segment, ids, row);
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) continue;
    return Status(Code::kBadData, "a step scores the token id " + std::to_string(id) +
                                      ", which is not in the vocabulary of " +
                                      std::to_string(vocabulary));
  }
  return Status::ok();
}

Result<ScoredPrompt> score_rows(const StepSegment& segment, std::span<const model::TokenId> ids,
                                std::span<const float> logits, ThreadPool& pool) {
  const std::size_t vocabulary = logits.size() / segment.count;
  ScoredPrompt scored;
  scored.request = segment.request;
  scored.position = segment.position + segment.scored_begin + 1;
  scored.logprobs.resize(segment.scored_end - segment.scored_begin);
  pool.run([&](int thread) {
    const IndexRange mine = split(scored.logprobs.size(), thread, pool.threads());
    for (std::size_t i = mine.begin; i < mine.end; ++i) {
      const std::size_t row = segment.scored_begin + i;
      scored.logprobs[i] =
          model::log_probabilities(logits.subspan(row * vocabulary, vocabulary),
                                   id_after(segment, ids, row), segment.scored_top);
    }
  });
  for (std::size_t i = 0; i < scored.logprobs.size(); ++i) {
    if (!std::isnan(scored.logprobs[i].front().logprob)) continue;
    return Status(Code::kBadData, "the log-probability of the token at position " +
                                      std::to_string(scored.position + i) +
                                      " is not a number; take another file of the model");
  }
  return scored;
}

}  // namespace troupe::actors
