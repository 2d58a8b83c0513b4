#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// ModernBERT: an encoder built like today's decoders. Norms come before the sublayers, positions
// are rotations, the feed-forward network is gated by GELU, and nothing but the head's last layer
// has a bias. Every third layer, from the first on, sees the whole sequence; the others see a
// window around each row, and rotate by a base of their own. The first layer's attention takes the
// normed embedding as it is. Source: Warner et al. 2024.

namespace troupe::model {
namespace {

constexpr const char* kArch = "modern-bert";
constexpr std::uint64_t kPeriod = 3, kWindow = 128;
constexpr double kTheta = 160000.0, kWindowTheta = 10000.0;

// Reads the window. A window of w positions reaches w / 2 to each side.
Status read_window(const HeaderReader& read, ModelConfig* config) {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t width, read.u64("attention.sliding_window", 0));
  TROUPE_ASSIGN_OR_RETURN(config->window_period,
                          read.u64("attention.sliding_window_pattern", kPeriod));
  config->window_opens_full = true;
  if (width == 0) return Status::ok();
  config->window = width / 2 + 1;
  TROUPE_ASSIGN_OR_RETURN(config->window_rope_theta,
                          read.f64("rope.freq_base_swa", config->rope_theta));
  return Status::ok();
}

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, kArch);
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(
      read.refuse({"blk.0.attn_qkv.bias", "blk.0.attn_output.bias", "blk.0.ffn_up.bias",
                   "blk.0.attn_norm.bias", "output_norm.bias"}));
  TROUPE_RETURN_IF_ERROR(read.sizes(&config));
  TROUPE_RETURN_IF_ERROR(read.layer_norm(&config));
  TROUPE_RETURN_IF_ERROR(read.rotary(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read_window(read, &config));
  std::string activation = "gelu";
  if (read.has("hidden_activation")) {
    TROUPE_ASSIGN_OR_RETURN(activation, header.string(read.key("hidden_activation")));
  }
  if (activation != "gelu" && activation != "silu")
    return unsupported("the activation " + activation);
  config.feed_forward = activation == "gelu" ? FeedForward::kGatedGeluErf : FeedForward::kGatedSilu;
  config.norm_bias = false;
  config.first_norm = header.tensor("blk.0.attn_norm.weight") != nullptr;
  config.embedding_norm = config.fused_qkv = config.fused_gate_up = true;
  // GGUF files do not say how their head pools.
  TROUPE_RETURN_IF_ERROR(read.encoder_head(&config));
  config.pooler_kind = PoolerKind::kGeluErf;
  TROUPE_ASSIGN_OR_RETURN(config.pooler_mean, read.flag(header_keys::kPoolerMean, true));
  return config;
}

// Reads the two bases of the rotations, which folders made before 2026 have in fields of their own.
Status rotary_metadata(const HfConfig& config, GgufMetadata* out) {
  if (config.has("rope_parameters.full_attention")) {
    TROUPE_RETURN_IF_ERROR(hf_rotary(
        config, kArch, out, {.theta = kTheta, .place = "rope_parameters.full_attention."}));
    TROUPE_RETURN_IF_ERROR(
        config.expect("rope_parameters.sliding_attention.rope_type", {"default"}));
    TROUPE_ASSIGN_OR_RETURN(
        (*out)["modern-bert.rope.freq_base_swa"],
        config.number("rope_parameters.sliding_attention.rope_theta", kWindowTheta, 1.0, 1e15));
    return Status::ok();
  }
  TROUPE_ASSIGN_OR_RETURN(const double theta,
                          config.number("global_rope_theta", kTheta, 1.0, 1e15));
  (*out)["modern-bert.rope.freq_base"] = theta;
  TROUPE_ASSIGN_OR_RETURN((*out)["modern-bert.rope.freq_base_swa"],
                          config.number("local_rope_theta", kWindowTheta, 1.0, 1e15));
  return Status::ok();
}

// Checks the list of the layers' kinds, if there is one.
Status check_layer_types(const HfConfig& config, std::uint64_t period) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::string> types, config.strings("layer_types"));
  for (std::size_t layer = 0; layer < types.size(); ++layer) {
    const char* const wanted = layer % period == 0 ? "full_attention" : "sliding_attention";
    if (types[layer] != wanted)
      return config.bad("the field \"layer_types\" says \"" + types[layer] + "\" for layer " +
                        std::to_string(layer) + ", expected \"" + wanted + "\"");
  }
  return Status::ok();
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(hf_refuse(config, {"attention_bias", "mlp_bias", "norm_bias"}));
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_activation", {"gelu", "silu"}));
  TROUPE_RETURN_IF_ERROR(config.expect("classifier_activation", {"gelu"}));
  TROUPE_RETURN_IF_ERROR(config.expect("classifier_pooling", {"cls", "mean"}));
  GgufMetadata head;
  TROUPE_RETURN_IF_ERROR(hf_encoder_head(config, &head));
  if (!head.empty())
    return config.bad(
        "the field \"architectures\" names a model that labels words; of ModernBERT this version "
        "can read those that label whole texts, and those without a head");
  TROUPE_RETURN_IF_ERROR(hf_plain_sizes(config, kArch, {}, /*head_dim=*/0, out));
  TROUPE_ASSIGN_OR_RETURN((*out)["modern-bert.attention.layer_norm_epsilon"],
                          hf_epsilon(config, "norm_eps", 1e-5));
  TROUPE_RETURN_IF_ERROR(rotary_metadata(config, out));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t width, config.u64("local_attention", kWindow));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t period,
                          config.u64("global_attn_every_n_layers", kPeriod));
  if (period == 0) return config.bad("the field \"global_attn_every_n_layers\" is 0");
  TROUPE_RETURN_IF_ERROR(check_layer_types(config, period));
  (*out)["modern-bert.attention.sliding_window"] = width;
  (*out)["modern-bert.attention.sliding_window_pattern"] = period;
  TROUPE_ASSIGN_OR_RETURN((*out)["modern-bert.hidden_activation"],
                          config.string("hidden_activation", "gelu"));
  TROUPE_ASSIGN_OR_RETURN(const std::string pooling, config.string("classifier_pooling", "cls"));
  (*out)[std::string(header_keys::kPoolerMean)] = pooling == "mean";
  return Status::ok();
}

constexpr HfName kNames[] = {
    {"embeddings.tok_embeddings.weight", "token_embd.weight"},
    {"embeddings.norm.weight", "token_embd_norm.weight"},
    {"layers.*.attn_norm.weight", "blk.*.attn_norm.weight"},
    {"layers.*.attn.Wqkv.weight", "blk.*.attn_qkv.weight"},
    {"layers.*.attn.Wo.weight", "blk.*.attn_output.weight"},
    {"layers.*.mlp_norm.weight", "blk.*.ffn_norm.weight"},
    {"layers.*.mlp.Wi.weight", "blk.*.ffn_up.weight"},
    {"layers.*.mlp.Wo.weight", "blk.*.ffn_down.weight"},
    {"final_norm.weight", "output_norm.weight"},
    {"head.dense.weight", "cls.weight"},
    {"head.dense.bias", "cls.bias"},
    {"head.norm.weight", "cls.norm.weight"},
    {"classifier.weight", "cls.output.weight"},
    {"classifier.bias", "cls.output.bias"},
};

}  // namespace

const Family kModernBertFamily{kArch, read_gguf, {"modernbert", "model.", metadata, kNames}};

}  // namespace troupe::model
