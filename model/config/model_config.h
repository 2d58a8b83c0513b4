#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

// The configuration of a transformer, as plain values. families/read_config.h reads them from a
// model's header and checks them; a stage computes what they say.

namespace troupe::model {

// The sizes that a model may have.
constexpr std::size_t kLayersMax = 4096;
constexpr std::size_t kChannelsMax = std::size_t{1} << 20;
constexpr std::size_t kHeadDimMax = 4096;
constexpr std::size_t kExpertsMax = 1024;                     // of one layer
constexpr std::size_t kAllExpertsMax = std::size_t{1} << 17;  // of all layers together
constexpr std::size_t kVocabularyMax = std::size_t{1} << 24;
constexpr std::size_t kContextMax = std::size_t{1} << 20;  // RoPE angles stay below 2^20

constexpr std::size_t kAdapterRankMax = 2048;  // of an adapter beside weights

enum class NormKind : std::uint8_t { kRms, kLayer };
enum class FeedForward : std::uint8_t {
  kGatedSilu,     // W_down (silu(W_gate x) * W_up x)
  kGatedGelu,     // the same with gelu by tanh
  kGatedGeluErf,  // the same with gelu by erf
  kGatedClamped,  // W_down (g sigmoid(1.702 g) * (u + 1)), g = W_gate x and u = W_up x within 7
  kGeluTanh,      // W_down gelu(W_up x), gelu by tanh
  kGeluErf,       // the same, gelu by erf
};
enum class PoolerKind : std::uint8_t { kTanh, kRelu, kGeluErf };
// The input and the output of an encoder's head.
enum class EncoderHead : std::uint8_t {
  kSequence,  // the pooler's result: the logits of the labels, one row for a sequence
  kToken,     // every row of the last layer: the logits of the labels
  kMask,      // every row: the logits of the vocabulary, which only training computes
};
enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3, kYarn };

struct ModelConfig {
  std::string family;        // a row of families/family_list.h: "llama"
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

  // How frequencies are scaled (kLlama3: Grattafiori et al. 2024; kYarn: Peng et al. 2023), and
  // what divides the frequency of each pair: values of config.json, or a tensor of a GGUF file.
  // That is rope_freqs.weight, which expresses Llama 3's scaling, or rope_factors_short.weight,
  // which Phi-3 has for the positions of its first training.
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1.0, rope_low_factor = 1.0, rope_high_factor = 4.0;
  std::size_t rope_context = 0;  // kLlama3, kYarn: number of positions of the first training
  double rope_beta_fast = 32.0, rope_beta_slow = 1.0;  // kYarn: rotations within that context
  bool rope_whole_pairs = true;       // kYarn: the ends of its ramp are rounded to whole pairs
  bool rope_factors = false;          // rope_freqs.weight
  bool rope_short_factors = false;    // rope_factors_short.weight
  std::vector<double> rope_divisors;  // of each pair, from config.json; empty: none
  double rope_magnitude = 1.0;        // multiplies the rotated pairs
  double window_rope_theta = 0.0;     // the base of layers with a window, unscaled; 0: as others
  std::size_t unrotated_period = 0;   // 4: the 4th, the 8th ... layer does not rotate; 0: all do

  // The parts of a layer.
  NormKind norm = NormKind::kRms;
  bool norm_bias = true;      // of a layer norm
  bool post_norm = false;     // x = norm(x + f(x)) instead of x + f(norm(x))
  bool input_norms = true;    // false: x + f(x), if post_norm is false too
  bool first_norm = true;     // false: attention of the model's first layer takes x as it is
  bool output_norms = false;  // x + norm(f(..)) instead of x + f(..)
  float norm_offset = 0.0f;   // is added to the norm weights that the file holds
  FeedForward feed_forward = FeedForward::kGatedSilu;
  bool qkv_bias = false;
  bool attn_output_bias = false, ffn_bias = false;
  bool head_norm = false;      // each head of q and k is RMS-normed before the rotation
  bool qk_norm = false;        // q and k are RMS-normed as wholes before the rotation
  bool fused_qkv = false;      // one tensor, attn_qkv, holds the rows of q, k and v
  bool fused_gate_up = false;  // one tensor, ffn_up, holds the rows of the gate, then those of up
  // From layer window_begin on, row p sees itself and the window - 1 positions before it, and in an
  // encoder as many behind it. 0 means that it sees all positions, as it does in every
  // window_period-th layer: the last of each period, or its first.
  std::size_t window = 0, window_begin = 0, window_period = 0;
  bool window_opens_full = false;
  // Each head adds a value to the score of a key, which depends on how far away the key is. There
  // is one value for each bucket of distances, the same in all layers. This is the number of
  // buckets; 0 means that nothing is added.
  std::size_t relative_buckets = 0;
  float attention_scale = 0.0f;  // multiplies scores; 0: 1 / sqrt(head_dim)
  float attention_cap = 0.0f;    // scores become cap * tanh(score / cap); 0: they stay
  float residual_scale = 1.0f;   // multiplies f(..) before it is added to x
  bool attention_sinks = false;  // the softmax of each head has one more score, which has no value
  std::string ffn_norm_name = "ffn_norm";  // of the norm before the feed-forward network

  // What comes before the layers and after them.
  bool learned_positions = false;   // a row of position_embd is added to the embedding
  std::size_t position_offset = 0;  // the row of position 0; the rows before it are not used
  bool embedding_norm = false;
  float embedding_scale = 1.0f;  // multiplies the embedding
  float logit_divisor = 1.0f;    // divides the logits
  float logit_cap = 0.0f;        // logits become cap * tanh(logit / cap); 0: they stay
  std::size_t token_types = 0;   // rows of token_types, one of which is added; 0: none
  bool causal = true;            // false: an encoder, every row sees the whole sequence
  bool pooler = false;           // encoder: tanh(W x_0 + b) of the first row, which the head reads
  PoolerKind pooler_kind = PoolerKind::kTanh;
  bool pooler_bias = true;
  bool pooler_norm = false;  // its result is normed
  bool pooler_mean = false;  // it takes the mean of all rows instead of the first
  std::size_t labels = 0;    // the logits of a classification head; 0: none
  EncoderHead head = EncoderHead::kSequence;

  // A mixture of experts has `experts` gated networks of expert_channels each, and a row goes
  // through the experts_used ones that its router chooses. 0 experts: one network of ffn_channels.
  // In a mixture, that network is the shared expert, if there is one: all rows go through it too.
  std::size_t experts = 0, experts_used = 0, expert_channels = 0;
  bool expert_weights_norm = true;  // the weights of a row's experts add up to 1
  bool shared_expert = false;       // it is weighted by the sigmoid of a row of its own
  bool experts_apart = false;       // each expert's matrices are tensors of their own
  bool expert_bias = false;         // of the router's rows, and of the experts' matrices
  // The rows of an expert's gate and of its up matrix alternate in one tensor, ffn_gate_up_pairs,
  // which only folders have.
  bool expert_pairs = false;
  // For each layer from the model's first on, whether it has one network of dense_channels instead
  // of experts; layers beyond the list have experts.
  std::vector<bool> dense_layers;
  std::size_t dense_channels = 0;

  // Low-rank adapters beside matrices of the layers: y = W x + bias + adapter_scale * B (A x). The
  // rank of each, by the matrix's name.
  std::map<std::string, std::size_t> adapter_ranks;
  float adapter_scale = 0.0f;

  bool gated() const {
    return feed_forward == FeedForward::kGatedSilu || feed_forward == FeedForward::kGatedGelu ||
           feed_forward == FeedForward::kGatedGeluErf || feed_forward == FeedForward::kGatedClamped;
  }
  // Says whether the window applies to a layer, and whether the layer rotates q and k. Layers count
  // from the model's first.
  bool has_window(std::size_t layer) const {
    const std::size_t place = window_opens_full ? layer : layer + 1;
    return window != 0 && layer >= window_begin &&
           (window_period == 0 || place % window_period != 0);
  }
  bool rotates(std::size_t layer) const {
    return rotary_dim != 0 && (unrotated_period == 0 || (layer + 1) % unrotated_period != 0);
  }
  // Says whether a layer's feed-forward network is a mixture of experts.
  bool has_experts(std::size_t layer) const {
    return experts > 0 && (layer >= dense_layers.size() || !dense_layers[layer]);
  }
  // Says whether a sublayer's output is changed before it is added to x.
  bool output_changes() const { return output_norms || residual_scale != 1.0f; }

  // Returns the number of logits in a row: V for a decoder, the labels for an encoder (0 if it has
  // no head).
  std::size_t outputs() const { return gives_tokens() ? vocabulary : labels; }
  // Says whether the logits are those of the vocabulary.
  bool gives_tokens() const { return causal || head == EncoderHead::kMask; }
  // Says whether every row may have logits, not only one of each sequence.
  bool has_row_logits() const { return causal || head != EncoderHead::kSequence; }
};

}  // namespace troupe::model
