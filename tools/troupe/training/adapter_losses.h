#pragma once

#include <cstddef>
#include <optional>

#include <troupe/tools/troupe/training/job.h>

// Measures how `troupe run` computes with an adapter that was trained beside quantized weights: it
// rounds activations to int8, which training does not. Called when the adapter's folder is written.

namespace troupe::tools {

struct AdapterLosses {
  std::size_t examples = 0;  // on which both were measured
  double trained = 0.0;      // f32 activations times dequantized weights, as in training
  double run = 0.0;          // computed as `troupe run --adapter` does
};

// Measures the loss of up to 64 examples, of the validation data if there are any, both ways.
// Returns nothing if the two cannot differ or cannot be compared: the model's matrices are not
// quantized, or the loss is not that of next tokens as they are.
Result<std::optional<AdapterLosses>> measure_adapter(const FinetuneOptions& options,
                                                     const Job& job);

}  // namespace troupe::tools
