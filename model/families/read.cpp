#include <algorithm>

#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// Returns a bool of the header, or `fallback` if the header has no such key.
Result<bool> flag(const GgufHeader& header, std::string_view key, bool fallback) {
  const auto found = header.metadata.find(key);
  if (found == header.metadata.end()) return fallback;
  if (const bool* value = std::get_if<bool>(&found->second)) return *value;
  return Status(Code::kBadData, "the metadata value of " + in_quotes(key) + " is not a bool");
}

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
                  key("attention.head_count") + " is 0; take another file of the model");
  if (!has("attention.key_length") && config->channels % config->heads != 0)
    return Status(Code::kBadData,
                  key("embedding_length") + " is " + std::to_string(config->channels) +
                      ", no multiple of " + key("attention.head_count") + ", " +
                      std::to_string(config->heads) + "; take another file of the model");
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
    return Status(
        Code::kBadData,
        "tensor token_embd.weight is missing or no matrix; take another file of the model");
  config->vocabulary = embedding->shape[0];
  TROUPE_ASSIGN_OR_RETURN(config->tied_embedding, flag(header_, header_keys::kTiedEmbedding,
                                                       header_.tensor("output.weight") == nullptr));
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
  TROUPE_ASSIGN_OR_RETURN(config->rope_interleaved,
                          flag(header_, header_keys::kRopeInterleaved, interleaved));
  config->rope_factors = header_.tensor("rope_freqs.weight") != nullptr;
  return scaling(config);
}

Status HeaderReader::scaling(ModelConfig* config) const {
  // Files made in 2023 have "rope.scale_linear". A factor without a type is linear, and a type
  // without a factor leaves the frequencies as they are: so llama.cpp reads these keys.
  const char* const factor =
      has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  std::string kind = has(factor) ? "linear" : "none";
  if (has("rope.scaling.type")) {
    TROUPE_ASSIGN_OR_RETURN(kind, header_.string(key("rope.scaling.type")));
  }
  if (kind == "none" || kind.empty()) return Status::ok();
  if (kind != "linear" && kind != "llama3")
    return unsupported("rotary scaling of the kind " + in_quotes(kind, 40));
  if (kind == "llama3" || has(factor)) {
    TROUPE_ASSIGN_OR_RETURN(config->rope_factor, header_.f64(key(factor)));
  }
  if (config->rope_factor == 0.0) config->rope_factor = 1.0;  // says that there is none
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
  if (header_.metadata.contains(header_keys::kSlidingWindowBegin)) {
    TROUPE_ASSIGN_OR_RETURN(config->window_begin, header_.u64(header_keys::kSlidingWindowBegin));
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

Status hf_plain_sizes(const HfConfig& config, const std::string& arch, const HfSizeFields& fields,
                      std::uint64_t head_dim, GgufMetadata* out) {
  const struct {
    const char *hf, *gguf;
    std::size_t most;
  } sizes[] = {{fields.layers, ".block_count", kLayersMax},
               {fields.channels, ".embedding_length", kChannelsMax},
               {fields.ffn_channels, ".feed_forward_length", kChannelsMax},
               {fields.heads, ".attention.head_count", kChannelsMax},
               {fields.context, ".context_length", kContextMax}};
  for (const auto& size : sizes) {
    TROUPE_ASSIGN_OR_RETURN((*out)[arch + size.gguf], config.size(size.hf, size.most));
  }
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t channels, config.u64(fields.channels));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t heads, config.u64(fields.heads));
  if (heads * head_dim > kChannelsMax)
    return config.bad("the field \"" + std::string(fields.heads) + "\" is " +
                      std::to_string(heads) + ", with " + std::to_string(head_dim) +
                      " channels a head more than " + std::to_string(kChannelsMax) + " in all");
  if (head_dim > 0 || channels % heads == 0) return Status::ok();
  return config.bad("the field \"" + std::string(fields.channels) + "\" is " +
                    std::to_string(channels) + ", no multiple of \"" + fields.heads + "\", " +
                    std::to_string(heads));
}

Result<double> hf_epsilon(const HfConfig& config, const char* field, double fallback) {
  return config.number(field, fallback, 1e-30, 0.999);
}

Status hf_sizes(const HfConfig& config, const std::string& arch, bool tied_by_default,
                GgufMetadata* out, std::uint64_t head_dim) {
  if (config.has("head_dim")) {
    TROUPE_ASSIGN_OR_RETURN(head_dim, config.size("head_dim", kHeadDimMax));
  }
  TROUPE_RETURN_IF_ERROR(hf_plain_sizes(config, arch, {}, head_dim, out));
  if (config.has("num_key_value_heads")) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t heads, config.u64("num_attention_heads"));
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t kv_heads,
                            config.size("num_key_value_heads", kChannelsMax));
    if (heads % kv_heads != 0)
      return config.bad("the field \"num_attention_heads\" is " + std::to_string(heads) +
                        ", no multiple of \"num_key_value_heads\", " + std::to_string(kv_heads));
    (*out)[arch + ".attention.head_count_kv"] = kv_heads;
  }
  if (head_dim > 0) {
    (*out)[arch + ".attention.key_length"] = head_dim;
    (*out)[arch + ".attention.value_length"] = head_dim;
  }
  TROUPE_ASSIGN_OR_RETURN((*out)[arch + ".attention.layer_norm_rms_epsilon"],
                          hf_epsilon(config, "rms_norm_eps", 1e-6));
  TROUPE_ASSIGN_OR_RETURN((*out)[std::string(header_keys::kTiedEmbedding)],
                          config.boolean("tie_word_embeddings", tied_by_default));
  return Status::ok();
}

namespace {

constexpr double kRopeFactorMax = 1e6;

// Returns the kind of scaling that a place of config.json names; "" if it names none.
Result<std::string> rope_kind(const HfConfig& config, const std::string& place) {
  return config.string(place + (config.has(place + "rope_type") ? "rope_type" : "type"), "");
}

// Folders made since 2025 have "rope_parameters". In older ones, the base and the rotated part
// stand by themselves beside "rope_scaling". A folder that has both must say the same in both.
Status check_rope_places(const HfConfig& config) {
  for (const char* field : {"partial_rotary_factor", "rope_parameters.partial_rotary_factor",
                            "rope_scaling.partial_rotary_factor"}) {
    TROUPE_ASSIGN_OR_RETURN(const double part, config.f64(field, 1.0));
    if (part != 1.0)
      return config.bad("the field \"" + std::string(field) + "\" is " + std::to_string(part) +
                        ": only a part of each head is rotated, which this version cannot run");
  }
  const auto contradict = [&](const std::string& old, const std::string& now) {
    return config.bad("the fields \"" + old + "\" and \"" + now +
                      "\" contradict each other; leave the one out that the model was not "
                      "trained with");
  };
  const std::string old = "rope_scaling.", now = "rope_parameters.";
  for (const std::string& inner : {old, now}) {
    if (config.differ("rope_theta", inner + "rope_theta"))
      return contradict("rope_theta", inner + "rope_theta");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string old_kind, rope_kind(config, old));
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, rope_kind(config, now));
  if (!old_kind.empty() && !kind.empty() && old_kind != kind)
    return contradict("rope_scaling", "rope_parameters");
  for (const char* field : {"rope_theta", "factor", "low_freq_factor", "high_freq_factor",
                            "original_max_position_embeddings"}) {
    if (config.differ(old + field, now + field)) return contradict(old + field, now + field);
  }
  return Status::ok();
}

// Returns the field's name with the place where config.json has it. Where both places have it, they
// agree.
std::string rope_field(const HfConfig& config, const std::string& field) {
  const std::string now = "rope_parameters." + field;
  return config.has(now) || !config.has("rope_scaling") ? now : "rope_scaling." + field;
}

Status hf_llama3_scaling(const HfConfig& config, const std::string& scaling, GgufMetadata* out) {
  const std::string low_field = rope_field(config, "low_freq_factor");
  const std::string high_field = rope_field(config, "high_freq_factor");
  TROUPE_ASSIGN_OR_RETURN(const double low, config.f64(low_field));
  TROUPE_ASSIGN_OR_RETURN(const double high, config.f64(high_field));
  if (!(low > 0.0 && low < high && high <= kRopeFactorMax))
    return config.bad("the fields \"" + low_field + "\" and \"" + high_field + "\" are " +
                      std::to_string(low) + " and " + std::to_string(high) +
                      ", which do not ascend in (0, 1e6]");
  (*out)[scaling + "low_freq_factor"] = low;
  (*out)[scaling + "high_freq_factor"] = high;
  // Where no field says how long the first training's context was, it was the model's own.
  std::string context = "original_max_position_embeddings";
  if (!config.has(context)) context = rope_field(config, context);
  if (!config.has(context)) context = "max_position_embeddings";
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "original_context_length"],
                          config.size(context, kContextMax));
  return Status::ok();
}

}  // namespace

Status hf_rotary(const HfConfig& config, const std::string& arch, GgufMetadata* out) {
  constexpr double kThetaMax = 1e15;
  TROUPE_RETURN_IF_ERROR(check_rope_places(config));
  (*out)[std::string(header_keys::kRopeInterleaved)] = false;
  const std::string inner_theta = rope_field(config, "rope_theta");
  TROUPE_ASSIGN_OR_RETURN(
      (*out)[arch + ".rope.freq_base"],
      config.number(config.has(inner_theta) ? inner_theta : "rope_theta", 10000.0, 1.0, kThetaMax));
  const std::string kind_field =
      rope_field(config, config.has(rope_field(config, "rope_type")) ? "rope_type" : "type");
  TROUPE_RETURN_IF_ERROR(config.expect(kind_field, {"default", "linear", "llama3"}));
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, config.string(kind_field, "default"));
  if (kind == "default") return Status::ok();
  const std::string scaling = arch + ".rope.scaling.";
  const std::string factor = rope_field(config, "factor");
  (*out)[scaling + "type"] = kind;
  TROUPE_RETURN_IF_ERROR(config.f64(factor).status());  // there is no default
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "factor"],
                          config.number(factor, 1.0, 1.0, kRopeFactorMax));
  return kind == "linear" ? Status::ok() : hf_llama3_scaling(config, scaling, out);
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
  (*out)[std::string(header_keys::kSlidingWindowBegin)] = begin;
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
