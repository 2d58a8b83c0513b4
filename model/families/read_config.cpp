#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/family.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Status out_of_range(const char* field, std::size_t value, std::size_t most) {
  return Status(Code::kBadData, std::string("the model's ") + field + " is " +
                                    std::to_string(value) + ", which is not in 1.." +
                                    std::to_string(most) + "; take another file of the model");
}

Status bad(const std::string& what) {
  return Status(Code::kBadData, what + "; take another file of the model");
}

Status check_rope_scaling(const ModelConfig& config) {
  if (config.rope_scaling == RopeScaling::kNone) return Status::ok();
  if (!(config.rope_factor >= 1.0 && config.rope_factor <= 1e6))
    return bad("the model's rotary scaling factor " + std::to_string(config.rope_factor) +
               " is not in [1, 1e6]");
  if (config.rope_scaling == RopeScaling::kLinear) return Status::ok();
  if (!(config.rope_low_factor > 0.0 && config.rope_low_factor < config.rope_high_factor &&
        config.rope_high_factor <= 1e6))
    return bad("the model's rotary frequency factors " + std::to_string(config.rope_low_factor) +
               " and " + std::to_string(config.rope_high_factor) + " do not ascend in (0, 1e6]");
  if (config.rope_context < 1 || config.rope_context > kContextMax)
    return out_of_range("original context length", config.rope_context, kContextMax);
  if (config.rope_scaling == RopeScaling::kYarn && config.rope_theta < 2.0)
    return bad("the model's rotary base " + std::to_string(config.rope_theta) +
               " is not in [2, 1e15], which YaRN needs");
  return Status::ok();
}

// Checks the numbers that multiply or divide something.
Status check_scales(const ModelConfig& config) {
  constexpr double kLeast = 1e-6, kMost = 1e6;
  const struct {
    const char* field;
    double value;
    bool may_be_0;
  } scales[] = {{"rotary magnitude", config.rope_magnitude, false},
                {"fastest rotation of YaRN", config.rope_beta_fast, false},
                {"slowest rotation of YaRN", config.rope_beta_slow, false},
                {"attention scale", config.attention_scale, true},
                {"cap of the scores", config.attention_cap, true},
                {"residual scale", config.residual_scale, false},
                {"embedding scale", config.embedding_scale, false},
                {"divisor of the logits", config.logit_divisor, false},
                {"cap of the logits", config.logit_cap, true},
                {"addition to norm weights", config.norm_offset, true}};
  for (const auto& scale : scales)
    if (!(scale.value >= kLeast && scale.value <= kMost) && !(scale.may_be_0 && scale.value == 0.0))
      return bad(std::string("the model's ") + scale.field + " " + std::to_string(scale.value) +
                 " is not in [1e-6, 1e6]");
  const double theta = config.window_rope_theta;
  if (theta != 0.0 && !(theta >= 1.0 && theta <= 1e15))
    return bad("the model's rotary base of layers with a window " + std::to_string(theta) +
               " is not in [1, 1e15]");
  const std::vector<double>& divisors = config.rope_divisors;
  if (!divisors.empty() && divisors.size() != config.rotary_dim / 2)
    return bad("the model has " + std::to_string(divisors.size()) +
               " rotary divisors instead of one for each of " +
               std::to_string(config.rotary_dim / 2) + " pairs");
  for (const double divisor : divisors)
    if (!(divisor >= 1.0 && divisor <= kMost))
      return bad("the model's rotary divisor " + std::to_string(divisor) + " is not in [1, 1e6]");
  return Status::ok();
}

Status check_config(const ModelConfig& config) {
  const struct {
    const char* field;
    std::size_t value, most;
  } fields[] = {{"number of layers", config.layers, kLayersMax},
                {"embedding length", config.channels, kChannelsMax},
                {"feed-forward length", config.ffn_channels, kChannelsMax},
                {"number of heads", config.heads, kChannelsMax},
                {"number of key/value heads", config.kv_heads, kChannelsMax},
                {"head dimension", config.head_dim, kHeadDimMax},
                {"vocabulary", config.vocabulary, kVocabularyMax},
                {"context length", config.context_max, kContextMax}};
  constexpr std::size_t kTokenTypesMax = 1024, kLabelsMax = std::size_t{1} << 20;
  if (config.token_types > kTokenTypesMax)
    return out_of_range("number of token types", config.token_types, kTokenTypesMax);
  if (config.labels > kLabelsMax)
    return out_of_range("number of labels", config.labels, kLabelsMax);
  for (const auto& f : fields)
    if (f.value < 1 || f.value > f.most) return out_of_range(f.field, f.value, f.most);
  if (config.heads % config.kv_heads != 0)
    return bad("the model's " + std::to_string(config.heads) + " heads are not a multiple of its " +
               std::to_string(config.kv_heads) + " key/value heads");
  if (config.heads * config.head_dim > kChannelsMax)
    return out_of_range("width of all heads", config.heads * config.head_dim, kChannelsMax);
  if (config.experts > kExpertsMax)
    return out_of_range("number of experts", config.experts, kExpertsMax);
  if (config.experts * config.layers > kAllExpertsMax)
    return out_of_range("number of experts in all layers", config.experts * config.layers,
                        kAllExpertsMax);
  if (config.experts > 0 && (config.experts_used < 1 || config.experts_used > config.experts))
    return out_of_range("number of experts of a row", config.experts_used, config.experts);
  if (config.experts > 0 && (config.expert_channels < 1 || config.expert_channels > kChannelsMax))
    return out_of_range("width of an expert", config.expert_channels, kChannelsMax);
  if (!config.dense_layers.empty() &&
      (config.dense_channels < 1 || config.dense_channels > kChannelsMax))
    return out_of_range("feed-forward length of layers without experts", config.dense_channels,
                        kChannelsMax);
  if (config.rotary_dim % 2 != 0 || config.rotary_dim > config.head_dim)
    return bad("the model's rotary dimension " + std::to_string(config.rotary_dim) +
               " is odd or larger than its head dimension " + std::to_string(config.head_dim));
  if (!(config.norm_epsilon > 0.0f && config.norm_epsilon < 1.0f))
    return bad("the model's norm epsilon " + std::to_string(config.norm_epsilon) +
               " is not in (0, 1)");
  if (!(config.rope_theta >= 1.0 && config.rope_theta <= 1e15))
    return bad("the model's rotary base " + std::to_string(config.rope_theta) +
               " is not in [1, 1e15]");
  TROUPE_RETURN_IF_ERROR(check_scales(config));
  return check_rope_scaling(config);
}

// Returns 17 for "blk.17.attn_q.weight", nothing for a tensor outside the layers.
std::optional<std::size_t> layer_of(std::string_view tensor) {
  constexpr std::string_view kLayer = "blk.";
  if (!tensor.starts_with(kLayer)) return std::nullopt;
  std::size_t layer = 0;
  const auto [end, error] =
      std::from_chars(tensor.data() + kLayer.size(), tensor.data() + tensor.size(), layer);
  if (error != std::errc() || end == tensor.data() + tensor.size() || *end != '.')
    return std::nullopt;
  return layer;
}

// Refuses a tensor that the computation would not use: leaving it out would change the answers
// silently. A missing tensor is found when weights are loaded.
Status check_tensors(const GgufHeader& header, const ModelConfig& config) {
  std::set<std::string> known;
  for (TensorSpec& spec : stage_tensors(config, {0, config.layers}))
    known.insert(std::move(spec.name));
  for (const TensorInfo& tensor : header.tensors) {
    if (known.contains(tensor.name)) continue;
    if (known.contains(std::string(scaled_name(tensor.name)))) continue;
    if (tensor.name == "output.weight" && config.tied_embedding)
      continue;                                                    // a copy of the embedding
    if (tensor.name.ends_with(".attn_rot_embd.weight")) continue;  // repeats the rotary base
    if (tensor.name == "rope_factors_long.weight" && config.rope_short_factors)
      continue;  // for positions beyond the context
    if (!is_model_tensor(tensor.name)) continue;
    const std::optional<std::size_t> layer = layer_of(tensor.name);
    if (layer.has_value() && *layer >= config.layers)
      return bad("tensor " + in_quotes(tensor.name) + " is of layer " + std::to_string(*layer) +
                 ", but the number of layers is " + std::to_string(config.layers));
    return Status(Code::kBadData, "tensor " + in_quotes(tensor.name) + " does not belong to a " +
                                      config.family +
                                      " model as this version computes it, and leaving it out "
                                      "would change the answers; use another file or model");
  }
  return Status::ok();
}

// Reads which matrices have an adapter. Shapes are checked when weights are loaded.
Status read_adapters(const GgufHeader& header, ModelConfig* config) {
  if (!header.metadata.contains(header_keys::kAdapterScale)) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const double scale, header.f64(header_keys::kAdapterScale));
  if (!(std::abs(scale) <= 1e6))
    return bad("the scale of the model's adapter " + std::to_string(scale) +
               " is not in [-1e6, 1e6]");
  config->adapter_scale = static_cast<float>(scale);
  constexpr std::string_view kEnding = kAdapterA;
  for (const TensorInfo& tensor : header.tensors) {
    if (!tensor.name.ends_with(kEnding)) continue;
    if (tensor.shape.size() != 2 || tensor.shape[0] > kAdapterRankMax)
      return bad("tensor " + in_quotes(tensor.name) + " is not an adapter of a rank up to " +
                 std::to_string(kAdapterRankMax));
    config->adapter_ranks[tensor.name.substr(0, tensor.name.size() - kEnding.size())] =
        tensor.shape[0];
  }
  return Status::ok();
}

// Refuses GGUF files that accompany a model but are not one.
Status check_is_model(const GgufHeader& header) {
  const Result<std::string> type = header.string("general.type");
  const Result<std::string> name = header.string("general.architecture");
  if (type && *type == "adapter")
    return Status(Code::kBadData,
                  "'general.type' is 'adapter': the file is an adapter for a model, not a model; "
                  "take the adapter in PEFT's files (adapter_config.json with "
                  "adapter_model.safetensors), and run its model with --adapter FOLDER");
  if ((type && *type == "imatrix") || (name && *name == "imatrix"))
    return Status(Code::kBadData,
                  "'general.type' is 'imatrix': the file says how important a model's weights are, "
                  "for llama-quantize; give the model's own file");
  if ((type && *type == "mmproj") || (name && *name == "clip"))
    return Status(Code::kBadData,
                  "the file (its architecture is " + in_quotes(name ? *name : "", 40) +
                      ") projects pictures or sounds for a model (an mmproj file); this version "
                      "can run the model's own file, on texts: give that");
  return Status::ok();
}

Result<ModelConfig> read_config(const GgufHeader& header) {
  TROUPE_RETURN_IF_ERROR(check_is_model(header));
  TROUPE_ASSIGN_OR_RETURN(const std::string name, header.string("general.architecture"));
  const Family* family = find_family(name);
  if (family == nullptr) {
    std::string known;
    for (const Family& f : families()) {
      if (!known.empty()) known += ", ";
      known += f.name;
    }
    return Status(Code::kBadData, "the model's architecture " + in_quotes(name, 40) +
                                      " is not one that this version can run (" + known +
                                      "); take another model, or a newer version of Troupe");
  }
  TROUPE_ASSIGN_OR_RETURN(ModelConfig config, family->read_gguf(header));
  TROUPE_RETURN_IF_ERROR(check_config(config));
  TROUPE_RETURN_IF_ERROR(read_adapters(header, &config));
  TROUPE_RETURN_IF_ERROR(check_tensors(header, config));
  return config;
}

}  // namespace

Result<ModelConfig> config_from_gguf(const GgufHeader& header) {
  Result<ModelConfig> config = read_config(header);
  if (!config.is_ok()) return header.of_this(config.status());
  return config;
}

kernels::KvType default_kv_type(const GgufHeader& header) {
  for (const TensorInfo& tensor : header.tensors)
    if (tensor.name.starts_with("blk.") && tensor.shape.size() == 2 &&
        tensor.type != quant::Type::kF32)
      return kernels::KvType::kF16;
  return kernels::KvType::kF32;
}

std::vector<std::string> tensors_of(const GgufHeader& header, const ModelConfig& config,
                                    LayerRange range) {
  std::vector<std::string> names = tensors_of(config, range);
  const std::set<std::string, std::less<>> known(names.begin(), names.end());
  for (const TensorInfo& tensor : header.tensors)
    if (known.contains(scaled_name(tensor.name))) names.push_back(tensor.name);
  return names;
}

std::uint64_t tensor_bytes_of(const GgufHeader& header, const ModelConfig& config,
                              LayerRange range) {
  std::uint64_t sum = 0;
  for (const std::string& name : tensors_of(config, range))
    if (const TensorInfo* info = header.tensor(name))
      sum += quant::packed_bytes(*quant::find(info->type), info->bytes);
  return sum;
}

}  // namespace troupe::model
