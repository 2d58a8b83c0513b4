#include <bit>
#include <cstdint>
#include <string>

#include <troupe/model/transformer/step_checks.h>

namespace troupe::model {
namespace {

bool all_finite(std::span<const float> values) {
  unsigned found = 0;
  for (const float value : values)
    found |= (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) == 0x7f800000u;
  return found == 0;
}

Status invalid(const std::string& what) { return Status(Code::kInvalidArgument, what); }

Status check_token_types(std::span<const std::uint8_t> types, std::size_t rows,
                         const ModelConfig& config) {
  if (!types.empty() && types.size() != rows)
    return invalid("a step of " + std::to_string(rows) + " rows came with " +
                   std::to_string(types.size()) + " token types");
  for (const std::uint8_t type : types)
    if (type >= config.token_types)
      return invalid("token type " + std::to_string(type) + " is not one of the model's " +
                     std::to_string(config.token_types));
  return Status::ok();
}

Result<std::size_t> check_segments(const StepInput& input, const ModelConfig& config) {
  std::size_t rows = 0;
  for (const Segment& segment : input.segments) {
    if (segment.count == 0) return invalid("a segment of a step has no rows");
    if (segment.position >= config.context_max ||
        segment.count > config.context_max - segment.position)
      return invalid("positions " + std::to_string(segment.position) + " to " +
                     std::to_string(segment.position + segment.count - 1) +
                     " do not fit into the model's context of " +
                     std::to_string(config.context_max) + "; shorten the prompt");
    if (!config.causal && segment.position != 0)
      return invalid("an encoder reads a text in one piece, but a segment begins at position " +
                     std::to_string(segment.position));
    if (!config.causal && segment.logits == LogitRows::kBest)
      return invalid("an encoder has no best next token");
    rows += segment.count;
  }
  if (rows == 0) return invalid("a step has no rows");
  return rows;
}

}  // namespace

Result<std::size_t> check_rows(const StepInput& input, const ModelConfig& config,
                               LayerRange range) {
  TROUPE_ASSIGN_OR_RETURN(const std::size_t rows, check_segments(input, config));
  if (range.begin == 0) {
    if (input.token_ids.size() != rows)
      return invalid("a step of " + std::to_string(rows) + " rows came with " +
                     std::to_string(input.token_ids.size()) + " token ids");
    for (const TokenId id : input.token_ids)
      if (id < 0 || static_cast<std::size_t>(id) >= config.vocabulary)
        return invalid("token id " + std::to_string(id) + " is not in the vocabulary of " +
                       std::to_string(config.vocabulary));
    TROUPE_RETURN_IF_ERROR(check_token_types(input.token_types, rows, config));
  } else {
    if (input.hidden.size() != rows * config.channels)
      return invalid("a step of " + std::to_string(rows) + " rows came with " +
                     std::to_string(input.hidden.size()) + " hidden values instead of " +
                     std::to_string(rows * config.channels));
    if (!all_finite(input.hidden)) return invalid("the hidden states of a step hold a NaN");
  }
  return rows;
}

Status reserve_pages(const StepInput& input, const KvPool& pool,
                     std::vector<SegmentRows>* segments) {
  segments->clear();
  Status failed;
  std::size_t row = 0;
  for (const Segment& segment : input.segments) {
    auto* sequence = dynamic_cast<PagedKvSequence*>(segment.sequence);
    if (sequence == nullptr || sequence->pool() != &pool) {
      failed = invalid("a sequence of a step belongs to another stage");
    } else if (sequence->reserved() != 0) {
      failed = invalid("a sequence occurs twice in a step");
    } else if (sequence->length() != segment.position) {
      failed = invalid("a segment begins at position " + std::to_string(segment.position) +
                       ", but its sequence has " + std::to_string(sequence->length()));
    } else if (!sequence->reserve(segment.count) && sequence->is_given()) {
      failed =
          Status(Code::kFailedPrecondition, "a segment of a step ends at position " +
                                                std::to_string(segment.position + segment.count) +
                                                ", beyond the blocks that its sequence was given");
    } else if (sequence->reserved() != segment.count) {
      failed = Status(
          Code::kResourceExhausted,
          "no memory for the keys and values of " + std::to_string(segment.count) +
              " more positions (" + std::to_string(pool.bytes()) +
              " bytes are in use, the limit is " +
              (pool.bytes_max() == 0 ? "the machine's memory" : std::to_string(pool.bytes_max())) +
              "); end other requests or shorten the prompt");
    }
    if (!failed.is_ok()) {
      for (const SegmentRows& reserved : *segments) reserved.sequence->cancel();
      return failed;
    }
    segments->push_back({sequence, segment.position, segment.count, row});
    row += segment.count;
  }
  return Status::ok();
}

void plan_logits(const StepInput& input, const ModelConfig& config, LayerRange range,
                 LogitPlan* plan) {
  plan->rows.clear();
  plan->best.clear();
  if (range.end != config.layers) return;
  std::size_t row = 0;
  for (const Segment& segment : input.segments) {
    row += segment.count;
    if (!config.has_row_logits()) {
      if (config.labels > 0 && segment.logits != LogitRows::kNone)
        plan->rows.push_back(row - segment.count);
      continue;
    }
    if (config.labels == 0 && !config.causal) continue;
    if (segment.logits == LogitRows::kBest) plan->best.push_back(row - 1);
    const std::size_t wanted = segment.logits == LogitRows::kAll    ? segment.count
                               : segment.logits == LogitRows::kLast ? 1
                                                                    : 0;
    for (std::size_t i = row - wanted; i < row; ++i) plan->rows.push_back(i);
  }
}

}  // namespace troupe::model
