#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/gguf.h>
#include <troupe/runtime/status.h>

// What a transformer is made of, read from a model file's header and checked. Plain values.

namespace troupe::model {

struct ModelConfig {
  std::string family;        // a row of families/: "llama"
  std::size_t layers = 0;    // L
  std::size_t channels = 0;  // C
  std::size_t ffn_channels = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t vocabulary = 0;   // V
  std::size_t context_max = 0;  // positions the model was trained for
  float norm_epsilon = 1e-5f;
  double rope_theta = 10000.0;
  std::size_t rotary_dim = 0;
  bool rope_interleaved = true;  // GGUF's llama order
  bool tied_embedding = false;   // the output matrix is token_embd
};

// Reads and checks every field (each product is bounded; heads divide; dims > 0).
//   Errors: kBadData naming the field and the value.
Result<ModelConfig> config_from_gguf(const GgufHeader& header);

// Decoder layers [begin, end); people write them inclusively, "0-9".
struct LayerRange {
  std::size_t begin = 0, end = 0;
  bool operator==(const LayerRange&) const = default;
};
// "0-9" or "3" -> range; "0-9,10-19" -> ranges. kInvalidArgument names the bad part.
Result<std::vector<LayerRange>> parse_layer_ranges(const std::string& text);
// "0-9".
std::string to_string(LayerRange range);

}  // namespace troupe::model
