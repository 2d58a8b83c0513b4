#include <cmath>

#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// Gemma 2 and 3: the output of a sublayer is normed before it is added, the embedding is scaled by
// the square root of its width, and the feed-forward network is gated by GELU. Most layers see a
// window. Gemma 2 caps scores and logits; Gemma 3 norms each head of q and k instead, and its
// layers with a window rotate by a base of their own. Hugging Face's files store norm weights minus
// one. Sources: Gemma Team 2024 and 2025.

namespace troupe::model {
namespace {

// Constants of Gemma 2 and of Gemma 3, which their GGUF files do not state.
constexpr std::size_t kGemma2Period = 2, kGemma3Period = 6, kGemma2Window = 4096;
constexpr double kGemma3WindowTheta = 10000.0;
// The models of 27 billion parameters, which are recognized by their number of layers, scale scores
// by the head width that would follow from the channels.
constexpr std::size_t kGemma2Large = 46, kGemma3Large = 62;

Result<ModelConfig> read_gemma(const HeaderReader& read, std::size_t period,
                               std::size_t default_window, std::size_t large_layers) {
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"blk.0.attn_q.bias", "blk.0.ffn_gate.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config, period));
  if (config.window == 0 && !read.has("attention.sliding_window")) config.window = default_window;
  config.feed_forward = FeedForward::kGatedGelu;
  config.output_norms = true;
  TROUPE_ASSIGN_OR_RETURN(config.norm_offset, read.norm_offset());
  config.embedding_scale = std::sqrt(static_cast<float>(config.channels));
  if (config.layers == large_layers)
    config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.channels / config.heads));
  TROUPE_ASSIGN_OR_RETURN(config.attention_scale,
                          read.f32("attention.scale", config.attention_scale));
  TROUPE_ASSIGN_OR_RETURN(config.attention_cap, read.f32("attn_logit_softcapping", 0.0f));
  TROUPE_ASSIGN_OR_RETURN(config.logit_cap, read.f32("final_logit_softcapping", 0.0f));
  return config;
}

Result<ModelConfig> read_gemma2(const GgufHeader& header) {
  return read_gemma(HeaderReader(header, "gemma2"), kGemma2Period, kGemma2Window, kGemma2Large);
}

Result<ModelConfig> read_gemma3(const GgufHeader& header) {
  const HeaderReader read(header, "gemma3");
  TROUPE_ASSIGN_OR_RETURN(ModelConfig config,
                          read_gemma(read, kGemma3Period, /*default_window=*/0, kGemma3Large));
  config.head_norm = true;
  TROUPE_ASSIGN_OR_RETURN(config.window_rope_theta,
                          read.f64("rope.freq_base_swa", kGemma3WindowTheta));
  return config;
}

Status gemma_metadata(const HfConfig& given, const std::string& arch, std::uint64_t period,
                      GgufMetadata* out) {
  // Folders of models that see pictures leave out fields that are the same in all of them.
  const HfConfig config = given.with_defaults({{"num_attention_heads", 8},
                                               {"num_key_value_heads", 4},
                                               {"max_position_embeddings", 131072}});
  constexpr std::uint64_t kHeadDim = 256;
  constexpr double kScalar = 256.0;
  TROUPE_RETURN_IF_ERROR(config.expect(
      config.has("hidden_activation") ? "hidden_activation" : "hidden_act", {"gelu_pytorch_tanh"}));
  TROUPE_RETURN_IF_ERROR(hf_refuse(config, {"attention_bias", "use_bidirectional_attention"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, arch, /*tied_by_default=*/true, out, kHeadDim));
  TROUPE_ASSIGN_OR_RETURN(const double scalar,
                          config.number("query_pre_attn_scalar", kScalar, 1e-6, 1e9));
  (*out)[arch + ".attention.scale"] = 1.0 / std::sqrt(scalar);
  (*out)[std::string(header_keys::kNormOffset)] = 1.0;
  for (const char* field : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (!config.has(field)) continue;
    TROUPE_ASSIGN_OR_RETURN((*out)[arch + "." + field], config.number(field, 0.0, 1e-3, 1e6));
  }
  return hf_window(config, arch, /*begin=*/0, out, period);
}

Status gemma2_metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(gemma_metadata(config, "gemma2", kGemma2Period, out));
  return hf_rotary(config, "gemma2", out);
}

Status gemma3_metadata(const HfConfig& config, GgufMetadata* out) {
  const char* const pattern =
      config.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t period, config.u64(pattern, kGemma3Period));
  TROUPE_RETURN_IF_ERROR(gemma_metadata(config, "gemma3", period, out));
  // Folders made since 2025 list the two kinds of layers separately.
  if (config.has("rope_parameters.full_attention")) {
    TROUPE_ASSIGN_OR_RETURN((*out)["gemma3.rope.freq_base_swa"],
                            config.number("rope_parameters.sliding_attention.rope_theta",
                                          kGemma3WindowTheta, 1.0, 1e15));
    TROUPE_RETURN_IF_ERROR(
        config.expect("rope_parameters.sliding_attention.rope_type", {"default"}));
    return hf_rotary(config, "gemma3", out,
                     {.theta = 1e6, .place = "rope_parameters.full_attention."});
  }
  TROUPE_ASSIGN_OR_RETURN((*out)["gemma3.rope.freq_base_swa"],
                          config.number("rope_local_base_freq", kGemma3WindowTheta, 1.0, 1e15));
  return hf_rotary(config, "gemma3", out, {.theta = 1e6});
}

const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.post_attention_layernorm.weight", "blk.*.post_attention_norm.weight"},
    {"layers.*.pre_feedforward_layernorm.weight", "blk.*.ffn_norm.weight"},
    {"layers.*.post_feedforward_layernorm.weight", "blk.*.post_ffw_norm.weight"},
});

}  // namespace

const Family kGemma2Family{"gemma2", read_gemma2, {"gemma2", "model.", gemma2_metadata, kNames}};
const Family kGemma3Family{
    "gemma3", read_gemma3, {"gemma3_text", "model.", gemma3_metadata, kNames}};

}  // namespace troupe::model
