#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// Which layers have a window: those from `begin` on, except every `period`-th if it is not 0.
struct WindowPattern {
  std::size_t begin = 0, period = 0;
  std::size_t misfit = 0;  // the first layer to which this does not apply, or the number of layers
};

WindowPattern pattern_of(const std::vector<bool>& slides) {
  WindowPattern out;
  const auto first = std::find(slides.begin(), slides.end(), true);
  const auto full = std::find(first, slides.end(), false);
  out.begin = static_cast<std::size_t>(first - slides.begin());
  if (full != slides.end()) out.period = static_cast<std::size_t>(full - slides.begin()) + 1;
  const auto fits = [&](std::size_t layer) {
    const bool is_full = out.period != 0 && (layer + 1) % out.period == 0;
    return slides[layer] == (layer >= out.begin && !is_full);
  };
  while (out.misfit < slides.size() && fits(out.misfit)) ++out.misfit;
  return out;
}

}  // namespace

Result<bool> HeaderReader::flag(std::string_view whole_key, bool fallback) const {
  const auto found = header_.metadata.find(whole_key);
  if (found == header_.metadata.end()) return fallback;
  if (const bool* value = std::get_if<bool>(&found->second)) return *value;
  return Status(Code::kBadData, "the metadata value of " + in_quotes(whole_key) + " is not a bool");
}

Status unsupported(const std::string& what) {
  return Status(Code::kBadData, "the model uses " + what +
                                    ", which this version cannot run yet; take another model, or a "
                                    "newer version of Troupe");
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
                      ", which is not a multiple of " + key("attention.head_count") + ", " +
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
        "tensor token_embd.weight is missing or is not a matrix; take another file of the model");
  config->vocabulary = embedding->shape[0];
  TROUPE_ASSIGN_OR_RETURN(config->tied_embedding, flag(header_keys::kTiedEmbedding,
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

Status HeaderReader::decoder(ModelConfig* config, bool interleaved) const {
  TROUPE_RETURN_IF_ERROR(sizes(config));
  TROUPE_RETURN_IF_ERROR(rms_norm(config));
  TROUPE_RETURN_IF_ERROR(rotary(config, interleaved));
  config->feed_forward = FeedForward::kGatedSilu;
  return Status::ok();
}

Status HeaderReader::window(ModelConfig* config, std::uint64_t period) const {
  TROUPE_ASSIGN_OR_RETURN(config->window, u64("attention.sliding_window", 0));
  if (header_.metadata.contains(header_keys::kSlidingWindowBegin)) {
    TROUPE_ASSIGN_OR_RETURN(config->window_begin, header_.u64(header_keys::kSlidingWindowBegin));
  }
  const std::string pattern = key("attention.sliding_window_pattern");
  const auto found = header_.metadata.find(pattern);
  if (found != header_.metadata.end())
    if (const auto* slides = std::get_if<std::vector<std::int64_t>>(&found->second))
      return window_pattern(pattern, *slides, config);
  TROUPE_ASSIGN_OR_RETURN(config->window_period, u64("attention.sliding_window_pattern", period));
  return Status::ok();
}

// Reads a pattern, which says for each layer whether it has the window.
Status HeaderReader::window_pattern(const std::string& name,
                                    const std::vector<std::int64_t>& slides,
                                    ModelConfig* config) const {
  std::vector<bool> windowed;
  for (const std::int64_t one : slides) windowed.push_back(one != 0);
  const WindowPattern pattern = pattern_of(windowed);
  config->window_begin = pattern.begin;
  config->window_period = pattern.period;
  if (config->window == 0 || pattern.misfit == slides.size()) return Status::ok();
  return unsupported("the windows that " + name + " says");
}

Status HeaderReader::biases(ModelConfig* config) const {
  const auto has_bias = [&](const char* name) { return header_.tensor(name) != nullptr; };
  TROUPE_ASSIGN_OR_RETURN(config->qkv_bias,
                          flag(header_keys::kAttentionBias, has_bias("blk.0.attn_q.bias")));
  TROUPE_ASSIGN_OR_RETURN(config->attn_output_bias,
                          flag(header_keys::kAttentionBias, has_bias("blk.0.attn_output.bias")));
  TROUPE_ASSIGN_OR_RETURN(config->ffn_bias,
                          flag(header_keys::kFeedForwardBias, has_bias("blk.0.ffn_up.bias")));
  return Status::ok();
}

Result<float> HeaderReader::f32(std::string_view rest, float fallback) const {
  TROUPE_ASSIGN_OR_RETURN(const double value, f64(rest, fallback));
  return static_cast<float>(value);
}

Result<float> HeaderReader::norm_offset() const {
  if (!header_.metadata.contains(header_keys::kNormOffset)) return 0.0f;
  TROUPE_ASSIGN_OR_RETURN(const double value, header_.f64(header_keys::kNormOffset));
  return static_cast<float>(value);
}

Status HeaderReader::mixture(ModelConfig* config, bool weights_norm) const {
  TROUPE_ASSIGN_OR_RETURN(config->experts, u64("expert_count", 0));
  if (config->experts == 0) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(config->experts_used, u64("expert_used_count"));
  TROUPE_ASSIGN_OR_RETURN(config->expert_channels,
                          u64("expert_feed_forward_length", config->ffn_channels));
  TROUPE_ASSIGN_OR_RETURN(config->expert_weights_norm,
                          flag(key("expert_weights_norm"), weights_norm));
  TROUPE_RETURN_IF_ERROR(dense_layers(config));
  const auto first = std::find(config->dense_layers.begin(), config->dense_layers.end(), false);
  const auto mixed = first == config->dense_layers.end() ? 0 : first - config->dense_layers.begin();
  const std::string layer = "blk." + std::to_string(mixed) + ".";
  config->experts_apart = header_.tensor(layer + "ffn_gate.0.weight") != nullptr;
  config->ffn_channels = config->expert_channels;
  const TensorInfo* shared = header_.tensor(layer + "ffn_up_shexp.weight");
  config->shared_expert = shared != nullptr;
  if (config->shared_expert) config->ffn_channels = shared->shape.front();
  return Status::ok();
}

// Reads which layers have no experts. A folder's header says so; in GGUF files, these layers have
// no router.
Status HeaderReader::dense_layers(ModelConfig* config) const {
  const std::size_t layers = std::min<std::size_t>(config->layers, kLayersMax);
  std::vector<bool> dense(layers);
  const auto found = header_.metadata.find(header_keys::kDenseLayers);
  if (found != header_.metadata.end()) {
    const auto* const listed = std::get_if<std::vector<std::int64_t>>(&found->second);
    const auto is_layer = [&](std::int64_t one) {
      return one >= 0 && static_cast<std::uint64_t>(one) < layers;
    };
    if (listed == nullptr || !std::all_of(listed->begin(), listed->end(), is_layer))
      return Status(Code::kBadData, "the metadata value of " +
                                        in_quotes(header_keys::kDenseLayers) +
                                        " is not a list of layers; take another file of the model");
    for (const std::int64_t one : *listed) dense[static_cast<std::size_t>(one)] = true;
  } else {
    std::set<std::string_view> known;
    for (const TensorInfo& tensor : header_.tensors) known.insert(tensor.name);
    const auto has = [&](std::size_t layer, const char* name) {
      return known.contains("blk." + std::to_string(layer) + name);
    };
    // A layer with neither a router nor a plain matrix has lost its router; the code that looks for
    // the tensors says so.
    for (std::size_t layer = 0; layer < layers; ++layer)
      dense[layer] = !has(layer, ".ffn_gate_inp.weight") && has(layer, ".ffn_down.weight");
    if (std::find(dense.begin(), dense.end(), false) == dense.end()) return Status::ok();
  }
  if (std::find(dense.begin(), dense.end(), true) == dense.end()) return Status::ok();
  config->dense_layers = std::move(dense);
  config->dense_channels = config->ffn_channels;
  return Status::ok();
}

Status HeaderReader::refuse(std::initializer_list<const char*> biases) const {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t experts, u64("expert_count", 0));
  if (experts != 0) return unsupported(std::to_string(experts) + " experts");
  return refuse_tensors(biases);
}

Status HeaderReader::refuse_tensors(std::initializer_list<const char*> biases) const {
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
                    std::to_string(channels) + ", which is not a multiple of \"" + fields.heads +
                    "\", " + std::to_string(heads));
}

Status hf_mixture(const HfConfig& config, const std::string& arch, const HfMixture& fields,
                  GgufMetadata* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t experts, config.size(fields.experts, kExpertsMax));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t used,
                          config.size("num_experts_per_tok", kExpertsMax));
  if (used > experts)
    return config.bad("the field \"num_experts_per_tok\" is " + std::to_string(used) +
                      ", but the model has " + std::to_string(experts) + " experts");
  (*out)[arch + ".expert_count"] = experts;
  (*out)[arch + ".expert_used_count"] = used;
  TROUPE_ASSIGN_OR_RETURN((*out)[arch + ".expert_feed_forward_length"],
                          config.size(fields.channels, kChannelsMax));
  return Status::ok();
}

Status hf_biases(const HfConfig& config, GgufMetadata* out) {
  for (const auto& [field, key] : {std::pair{"attention_bias", header_keys::kAttentionBias},
                                   {"mlp_bias", header_keys::kFeedForwardBias}}) {
    TROUPE_ASSIGN_OR_RETURN((*out)[std::string(key)], config.boolean(field, false));
  }
  return Status::ok();
}

Status hf_refuse(const HfConfig& config, std::initializer_list<const char*> fields) {
  for (const char* field : fields) {
    TROUPE_ASSIGN_OR_RETURN(const bool value, config.boolean(field, false));
    if (value)
      return config.bad("the field \"" + std::string(field) +
                        "\" is true, which this version cannot run");
  }
  return Status::ok();
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
                        ", which is not a multiple of \"num_key_value_heads\", " +
                        std::to_string(kv_heads));
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

Status hf_window(const HfConfig& config, const std::string& arch, std::uint64_t begin,
                 GgufMetadata* out, std::uint64_t period) {
  if (!config.has("sliding_window")) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t window, config.u64("sliding_window"));
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::string> types, config.strings("layer_types"));
  if (!types.empty()) {
    std::vector<bool> windowed;
    std::size_t known = 0;  // the number of layers before the first of another type
    for (const std::string& type : types) {
      windowed.push_back(type == "sliding_attention");
      const bool is_known = windowed.back() || type == "full_attention";
      if (is_known && known + 1 == windowed.size()) ++known;
    }
    const WindowPattern pattern = pattern_of(windowed);
    const std::size_t layer = std::min(known, pattern.misfit);
    if (layer < types.size())
      return config.bad("the field \"layer_types\" says " + in_quotes(types[layer]) +
                        " for layer " + std::to_string(layer) +
                        "; this version can run full_attention, then sliding_attention, with "
                        "full_attention again at a regular interval of layers");
    begin = pattern.begin;
    period = pattern.period;
    if (begin == types.size()) return Status::ok();
  }
  if (window == 0) return config.bad("the field \"sliding_window\" is 0, expected 1 or more");
  (*out)[arch + ".attention.sliding_window"] = window;
  (*out)[std::string(header_keys::kSlidingWindowBegin)] = begin;
  (*out)[arch + ".attention.sliding_window_pattern"] = period;
  return Status::ok();
}

Status hf_qwen_window(const HfConfig& config, const std::string& arch, GgufMetadata* out) {
  constexpr std::uint64_t kMaxWindowLayers = 28;  // the value if config.json has none
  TROUPE_ASSIGN_OR_RETURN(const bool slides, config.boolean("use_sliding_window", false));
  if (!slides) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t begin,
                          config.u64("max_window_layers", kMaxWindowLayers));
  return hf_window(config, arch, begin, out);
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

std::vector<HfName> llama_names_with(std::initializer_list<HfName> own) {
  std::vector<HfName> names(own);
  names.insert(names.end(), std::begin(kNames), std::end(kNames));
  return names;
}

}  // namespace troupe::model
