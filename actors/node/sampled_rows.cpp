#include <string>

#include <troupe/actors/node/sampled_rows.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/sampler.h>

namespace troupe::actors {

Status check_drafted(const StepSegment& segment) {
  if (segment.drafted == 0 || (segment.sample && segment.drafted < segment.count)) {
    return Status::ok();
  }
  return Status(Code::kBadData, "a step has " + std::to_string(segment.drafted) +
                                    " drafted rows in a segment of " +
                                    std::to_string(segment.count) +
                                    (segment.sample ? "" : " from which nothing is sampled"));
}

Status sample_rows(const StepSegment& segment, std::span<const model::TokenId> ids,
                   std::span<const float> logits, std::span<const model::TokenId> log,
                   std::vector<SampledToken>* tokens) {
  const std::size_t sampled = std::size_t{segment.drafted} + 1;
  const std::size_t vocabulary = logits.size() / sampled;
  for (std::size_t i = 0; i < sampled; ++i) {
    // The end of the rows on which the token depends.
    const std::size_t end = segment.count - segment.drafted + i;
    const std::uint32_t position = segment.position + static_cast<std::uint32_t>(end);
    const auto row = logits.subspan(i * vocabulary, vocabulary);
    // The drafted ids in the log are the ones that came true.
    const auto known = log.empty() ? log : log.first(position);
    TROUPE_ASSIGN_OR_RETURN(const model::TokenId token,
                            model::sample(row, segment.sampling, position, known, segment.prompt));
    SampledToken out{segment.request, position, token, {}};
    if (segment.sampling.logprobs > 0) {
      out.logprobs = model::log_probabilities(row, token, segment.sampling.logprobs);
    }
    tokens->push_back(std::move(out));
    if (end < ids.size() && ids[end] != token) break;
  }
  return Status::ok();
}

}  // namespace troupe::actors
