#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// What a transformer is made of, as plain values. families/read_config.h reads them from a model's
// header and checks them; a stage computes what they say.

namespace troupe::model {

// The sizes that a model may have.
constexpr std::size_t kLayersMax = 4096;
constexpr std::size_t kChannelsMax = std::size_t{1} << 20;
constexpr std::size_t kHeadDimMax = 4096;
constexpr std::size_t kVocabularyMax = std::size_t{1} << 24;
constexpr std::size_t kContextMax = std::size_t{1} << 20;  // RoPE angles stay below 2^20

enum class NormKind : std::uint8_t { kRms, kLayer };
enum class FeedForward : std::uint8_t {
  kGatedSilu,  // W_down (silu(W_gate x) * W_up x)
  kGeluTanh,   // W_down gelu(W_up x), gelu by tanh
  kGeluErf,    // the same, gelu by erf
};
enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3 };

struct ModelConfig {
  std::string family;        // a row of families/table.cpp: "llama"
  std::size_t layers = 0;    // L
  std::size_t channels = 0;  // C
  std::size_t ffn_channels = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t vocabulary = 0;   // V
  std::size_t context_max = 0;  // number of positions that the model was trained for
  float norm_epsilon = 1e-5f;
  double rope_theta = 10000.0;
  std::size_t rotary_dim = 0;
  bool rope_interleaved = true;  // pairs (2i, 2i+1), GGUF's llama order; else (i, i + dim/2)
  bool tied_embedding = false;   // the output matrix is token_embd

  // How frequencies are scaled (kLlama3: Grattafiori et al. 2024), and whether the model has a
  // tensor rope_freqs.weight that divides them, which is how GGUF files express the same scaling.
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1.0, rope_low_factor = 1.0, rope_high_factor = 4.0;
  std::size_t rope_context = 0;  // kLlama3: number of positions of the first training
  bool rope_factors = false;

  // What a layer is made of.
  NormKind norm = NormKind::kRms;
  bool post_norm = false;  // x = norm(x + f(x)) instead of x + f(norm(x))
  FeedForward feed_forward = FeedForward::kGatedSilu;
  bool qkv_bias = false;
  bool linear_bias = false;  // every other matrix of a layer has a bias
  bool head_norm = false;    // each head of q and k is RMS-normed before the rotation
  bool fused_qkv = false;    // one tensor, attn_qkv, holds the rows of q, k and v
  // From layer window_begin on, row p sees itself and the window - 1 positions before it. 0 means
  // that it sees all positions before it.
  std::size_t window = 0, window_begin = 0;

  // What comes before the layers and after them.
  bool learned_positions = false;  // a row of position_embd is added to the embedding
  bool embedding_norm = false;
  std::size_t token_types = 0;  // rows of token_types, one of which is added; 0: none
  bool causal = true;           // false: an encoder, every row sees the whole sequence
  bool pooler = false;          // encoder: tanh(W x_0 + b) of the first row
  std::size_t labels = 0;       // the logits of a classification head; 0: none

  // The number of logits in a row: V for a decoder, the labels for an encoder (0 if it has no
  // head).
  std::size_t outputs() const { return causal ? vocabulary : labels; }
};

}  // namespace troupe::model
