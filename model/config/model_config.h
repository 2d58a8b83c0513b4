#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/runtime/status.h>

// What a transformer is made of, read from a model file's header and checked. Plain values.

namespace troupe::model {

enum class NormKind : std::uint8_t { kRms, kLayer };
enum class FeedForward : std::uint8_t {
  kGatedSilu,  // W_down (silu(W_gate x) * W_up x)
  kGeluTanh,   // W_down gelu(W_up x), gelu by tanh
  kGeluErf,    // the same, gelu by erf
};
enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3 };

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
  bool rope_interleaved = true;  // pairs (2i, 2i+1), GGUF's llama order; else (i, i + dim/2)
  bool tied_embedding = false;   // the output matrix is token_embd

  // How frequencies are scaled (kLlama3: Grattafiori et al. 2024); and whether the model has a
  // tensor rope_freqs.weight that divides them, which is how GGUF files say the same.
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1.0, rope_low_factor = 1.0, rope_high_factor = 4.0;
  std::size_t rope_context = 0;  // kLlama3: positions that the model was trained for at first
  bool rope_factors = false;

  // What a layer is made of.
  NormKind norm = NormKind::kRms;
  bool post_norm = false;  // x = norm(x + f(x)) instead of x + f(norm(x))
  FeedForward feed_forward = FeedForward::kGatedSilu;
  bool qkv_bias = false;
  bool linear_bias = false;  // of every other matrix of a layer
  bool head_norm = false;    // RMS norm of each head of q and k before the rotation
  bool fused_qkv = false;    // one tensor, attn_qkv, holds the rows of q, k and v
  // Row p sees itself and window - 1 positions before it, from layer window_begin on; 0: all.
  std::size_t window = 0, window_begin = 0;

  // What comes before the layers and behind them.
  bool learned_positions = false;  // a row of position_embd is added to the embedding
  bool embedding_norm = false;
  std::size_t token_types = 0;  // rows of token_types, one of which is added; 0: none
  bool causal = true;           // false: an encoder, every row sees the whole sequence
  bool pooler = false;          // encoder: tanh(W x_0 + b) of the first row, then
  std::size_t labels = 0;       // the logits of a classification head; 0: none

  // Values of a row of logits: of a decoder V, of an encoder L (0: it has no head).
  std::size_t outputs() const { return causal ? vocabulary : labels; }
};

// Reads and checks every field (each product is bounded; heads divide; dims > 0), and that the
// configuration has a use for every tensor.
//   Errors: kBadData naming the file, the field and the value.
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
