#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>
#include <troupe/model/transformer/kv_sequence.h>
#include <troupe/runtime/accelerator.h>

// The input and the output of a step through a stage, as plain values (stage.h).

namespace troupe::model {

// The rows of a segment whose logits a decoder computes. With kBest, the caller gets only the id of
// the largest logit of the last row, so that a GPU need not copy its logits to the host. An encoder
// computes one row of logits for a sequence, unless kNone.
enum class LogitRows : std::uint8_t { kNone, kLast, kAll, kBest };

// A run of consecutive positions of one sequence, as the caller of forward() gives it.
struct Segment {
  KvSequence* sequence = nullptr;
  std::size_t position = 0;  // of the first row; must equal sequence->length()
  std::size_t count = 0;     // number of rows, at least 1
  LogitRows logits = LogitRows::kNone;
};

struct StepInput {
  std::span<const Segment> segments;   // the step's rows are the rows of these, in order, B in all
  std::span<const TokenId> token_ids;  // first stage: (B)
  std::span<const float> hidden;       // other stages: (B,C)
  // First stage of a model with token types: (B), or empty if all are 0.
  std::span<const std::uint8_t> token_types = {};
};
struct StepOutput {
  std::vector<float> hidden;    // (B,C); empty in a last stage that computes logits
  std::vector<float> logits;    // last stage: (rows asked for, config.outputs()), in row order
  std::vector<BestLogit> best;  // last stage: of each segment that asked for kBest, in order
};

}  // namespace troupe::model
