#include <troupe/model/families/read.h>
#include <troupe/model/utf8.h>

namespace troupe::model {
namespace {

// A bool of the header, or `fallback`.
Result<bool> flag(const GgufHeader& header, std::string_view key, bool fallback) {
  const auto found = header.metadata.find(key);
  if (found == header.metadata.end()) return fallback;
  if (const bool* value = std::get_if<bool>(&found->second)) return *value;
  return Status(Code::kBadData, "the metadata value of " + in_quotes(key) + " is not a bool");
}

constexpr std::string_view kTiedKey = "troupe.tied_embedding";
constexpr std::string_view kInterleavedKey = "troupe.rope.interleaved";
constexpr std::string_view kWindowBeginKey = "troupe.sliding_window_begin";

}  // namespace

Status unsupported(const std::string& what) {
  return Status(Code::kBadData, "the model uses " + what + ", which this version cannot run yet");
}

Status HeaderReader::sizes(ModelConfig* config) const {
  config->family = arch_;
  TROUPE_ASSIGN_OR_RETURN(config->layers, u64("block_count"));
  TROUPE_ASSIGN_OR_RETURN(config->channels, u64("embedding_length"));
  TROUPE_ASSIGN_OR_RETURN(config->ffn_channels, u64("feed_forward_length"));
  TROUPE_ASSIGN_OR_RETURN(config->heads, u64("attention.head_count"));
  TROUPE_ASSIGN_OR_RETURN(config->kv_heads, u64("attention.head_count_kv", config->heads));
  if (config->heads == 0)
    return Status(Code::kBadData,
                  key("attention.head_count") + " is 0; the file is damaged: fetch it again");
  if (!has("attention.key_length") && config->channels % config->heads != 0)
    return Status(Code::kBadData,
                  key("embedding_length") + " is " + std::to_string(config->channels) +
                      ", no multiple of " + key("attention.head_count") + ", " +
                      std::to_string(config->heads) + "; the file is damaged: fetch it again");
  TROUPE_ASSIGN_OR_RETURN(config->head_dim,
                          u64("attention.key_length", config->channels / config->heads));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t value_dim,
                          u64("attention.value_length", config->head_dim));
  if (value_dim != config->head_dim)
    return unsupported("keys of " + std::to_string(config->head_dim) + " and values of " +
                       std::to_string(value_dim) + " channels");
  TROUPE_ASSIGN_OR_RETURN(config->context_max, u64("context_length"));
  const TensorInfo* embedding = header_.tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    return Status(Code::kBadData,
                  "tensor token_embd.weight is missing or no matrix; fetch the file again");
  config->vocabulary = embedding->shape[0];
  TROUPE_ASSIGN_OR_RETURN(config->tied_embedding,
                          flag(header_, kTiedKey, header_.tensor("output.weight") == nullptr));
  return Status::ok();
}

Status HeaderReader::rms_norm(ModelConfig* config) const {
  config->norm = NormKind::kRms;
  TROUPE_ASSIGN_OR_RETURN(const double epsilon,
                          header_.f64(key("attention.layer_norm_rms_epsilon")));
  config->norm_epsilon = static_cast<float>(epsilon);
  return Status::ok();
}

Status HeaderReader::layer_norm(ModelConfig* config) const {
  config->norm = NormKind::kLayer;
  TROUPE_ASSIGN_OR_RETURN(const double epsilon, header_.f64(key("attention.layer_norm_epsilon")));
  config->norm_epsilon = static_cast<float>(epsilon);
  return Status::ok();
}

Status HeaderReader::rotary(ModelConfig* config, bool interleaved) const {
  TROUPE_ASSIGN_OR_RETURN(config->rotary_dim, u64("rope.dimension_count", config->head_dim));
  TROUPE_ASSIGN_OR_RETURN(config->rope_theta, f64("rope.freq_base", 10000.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_interleaved, flag(header_, kInterleavedKey, interleaved));
  config->rope_factors = header_.tensor("rope_freqs.weight") != nullptr;
  return scaling(config);
}

Status HeaderReader::scaling(ModelConfig* config) const {
  std::string kind = "none";
  if (has("rope.scaling.type")) {
    TROUPE_ASSIGN_OR_RETURN(kind, header_.string(key("rope.scaling.type")));
  } else if (has("rope.scale_linear")) {  // files of 2023
    TROUPE_ASSIGN_OR_RETURN(config->rope_factor, f64("rope.scale_linear", 1.0));
    config->rope_scaling = RopeScaling::kLinear;
    return Status::ok();
  }
  if (kind == "none" || kind.empty()) return Status::ok();
  if (kind != "linear" && kind != "llama3")
    return unsupported("rotary scaling of the kind " + in_quotes(kind, 40));
  TROUPE_ASSIGN_OR_RETURN(config->rope_factor, header_.f64(key("rope.scaling.factor")));
  config->rope_scaling = RopeScaling::kLinear;
  if (kind == "linear") return Status::ok();
  config->rope_scaling = RopeScaling::kLlama3;
  TROUPE_ASSIGN_OR_RETURN(config->rope_low_factor, f64("rope.scaling.low_freq_factor", 1.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_high_factor, f64("rope.scaling.high_freq_factor", 4.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_context, u64("rope.scaling.original_context_length"));
  return Status::ok();
}

Status HeaderReader::window(ModelConfig* config) const {
  TROUPE_ASSIGN_OR_RETURN(config->window, u64("attention.sliding_window", 0));
  if (header_.metadata.contains(kWindowBeginKey)) {
    TROUPE_ASSIGN_OR_RETURN(config->window_begin, header_.u64(kWindowBeginKey));
  }
  return Status::ok();
}

Status HeaderReader::refuse(std::initializer_list<const char*> biases) const {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t experts, u64("expert_count", 0));
  if (experts != 0) return unsupported(std::to_string(experts) + " experts");
  for (const char* bias : biases)
    if (header_.tensor(bias) != nullptr) return unsupported("the bias " + std::string(bias));
  return Status::ok();
}

Status hf_sizes(const HfConfig& config, const std::string& arch, bool tied_by_default,
                GgufMetadata* out) {
  const struct {
    const char *hf, *gguf;
  } fields[] = {{"num_hidden_layers", ".block_count"},
                {"hidden_size", ".embedding_length"},
                {"intermediate_size", ".feed_forward_length"},
                {"num_attention_heads", ".attention.head_count"},
                {"max_position_embeddings", ".context_length"}};
  for (const auto& field : fields) {
    TROUPE_ASSIGN_OR_RETURN((*out)[arch + field.gguf], config.u64(field.hf));
  }
  if (config.has("num_key_value_heads")) {
    TROUPE_ASSIGN_OR_RETURN((*out)[arch + ".attention.head_count_kv"],
                            config.u64("num_key_value_heads"));
  }
  if (config.has("head_dim")) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t head_dim, config.u64("head_dim"));
    (*out)[arch + ".attention.key_length"] = head_dim;
    (*out)[arch + ".attention.value_length"] = head_dim;
  }
  TROUPE_ASSIGN_OR_RETURN((*out)[arch + ".attention.layer_norm_rms_epsilon"],
                          config.f64("rms_norm_eps", 1e-6));
  TROUPE_ASSIGN_OR_RETURN((*out)[std::string(kTiedKey)],
                          config.boolean("tie_word_embeddings", tied_by_default));
  return Status::ok();
}

Status hf_rotary(const HfConfig& config, const std::string& arch, GgufMetadata* out) {
  (*out)[std::string(kInterleavedKey)] = false;
  // Folders of 2025 on have "rope_parameters"; before, the base stood alone beside "rope_scaling".
  const bool one_place = config.has("rope_parameters");
  const std::string inner = one_place ? "rope_parameters." : "rope_scaling.";
  TROUPE_ASSIGN_OR_RETURN(
      (*out)[arch + ".rope.freq_base"],
      config.f64(one_place ? "rope_parameters.rope_theta" : "rope_theta", 10000.0));
  TROUPE_ASSIGN_OR_RETURN(
      const double part,
      config.f64(one_place ? "rope_parameters.partial_rotary_factor" : "partial_rotary_factor",
                 1.0));
  if (part != 1.0) return config.bad("only a part of each head is rotated, which is not supported");
  const std::string kind_field = inner + (config.has(inner + "rope_type") ? "rope_type" : "type");
  TROUPE_RETURN_IF_ERROR(config.expect(kind_field, {"default", "linear", "llama3"}));
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, config.string(kind_field, "default"));
  if (kind == "default") return Status::ok();
  const std::string scaling = arch + ".rope.scaling.";
  (*out)[scaling + "type"] = kind;
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "factor"], config.f64(inner + "factor"));
  if (kind == "linear") return Status::ok();
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "low_freq_factor"],
                          config.f64(inner + "low_freq_factor"));
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "high_freq_factor"],
                          config.f64(inner + "high_freq_factor"));
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "original_context_length"],
                          config.u64(inner + "original_max_position_embeddings"));
  return Status::ok();
}

Status hf_window(const HfConfig& config, const std::string& arch, std::uint64_t begin,
                 GgufMetadata* out) {
  if (!config.has("sliding_window")) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t window, config.u64("sliding_window"));
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::string> types, config.strings("layer_types"));
  if (!types.empty()) {
    begin = types.size();
    for (std::size_t layer = 0; layer < types.size(); ++layer) {
      const bool slides = types[layer] == "sliding_attention";
      if (!slides && (types[layer] != "full_attention" || begin < layer))
        return config.bad("the field \"layer_types\" says " + in_quotes(types[layer]) +
                          " for layer " + std::to_string(layer) +
                          "; this version can run full_attention, then sliding_attention");
      if (slides) begin = std::min<std::uint64_t>(begin, layer);
    }
    if (begin == types.size()) return Status::ok();
  }
  if (window == 0) return config.bad("the field \"sliding_window\" is 0, expected 1 or more");
  (*out)[arch + ".attention.sliding_window"] = window;
  (*out)[std::string(kWindowBeginKey)] = begin;
  return Status::ok();
}

namespace {
constexpr HfName kNames[] = {
    {"embed_tokens.weight", "token_embd.weight"},
    {"norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"layers.*.input_layernorm.weight", "blk.*.attn_norm.weight"},
    {"layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight"},
    {"layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight"},
    {"layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight"},
    {"layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias"},
    {"layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias"},
    {"layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias"},
    {"layers.*.self_attn.q_norm.weight", "blk.*.attn_q_norm.weight"},
    {"layers.*.self_attn.k_norm.weight", "blk.*.attn_k_norm.weight"},
    {"layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight"},
    {"layers.*.self_attn.o_proj.bias", "blk.*.attn_output.bias"},
    {"layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight"},
    {"layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight"},
    {"layers.*.mlp.gate_proj.bias", "blk.*.ffn_gate.bias"},
    {"layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight"},
    {"layers.*.mlp.up_proj.bias", "blk.*.ffn_up.bias"},
    {"layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight"},
    {"layers.*.mlp.down_proj.bias", "blk.*.ffn_down.bias"},
};
}  // namespace
const std::span<const HfName> kLlamaNames = kNames;

}  // namespace troupe::model
