#include <cmath>
#include <string>

#include <troupe/model/files/peft_config.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/json_file.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kConfigBytesMax = std::size_t{1} << 20;

Status bad_config(const fs::path& path, const std::string& what) {
  return Status(Code::kBadData, path.string() + ": " + what);
}

// Refuses settings that change the mathematics and that are not implemented here.
Status check_config(const fs::path& path, const nlohmann::json& config) {
  std::string kind;
  if (!read_field(config, "peft_type", &kind) || kind != "LORA")
    return bad_config(path,
                      "the field \"peft_type\" is not \"LORA\", the one kind that is supported");
  for (const char* field : {"use_dora", "fan_in_fan_out", "lora_bias"})
    if (config.contains(field) && config[field].is_boolean() && config[field].get<bool>())
      return bad_config(path, "the field \"" + std::string(field) +
                                  "\" is true, which this version does not compute");
  for (const char* field :
       {"rank_pattern", "alpha_pattern", "layer_replication", "trainable_token_indices"})
    if (config.contains(field) && !config[field].empty())
      return bad_config(path, "the field \"" + std::string(field) +
                                  "\" is not empty, which this version does not support");
  // These kinds of initial values change the model's own weights, too.
  std::string start;
  read_field(config, "init_lora_weights", &start);
  for (const char* changing : {"pissa", "olora", "corda", "loftq"}) {
    if (!start.starts_with(changing)) continue;
    return bad_config(path,
                      "the field \"init_lora_weights\" is " + in_quotes(start, 40) +
                          ", so the adapter belongs to weights that PEFT has changed; have PEFT "
                          "convert it to a plain one");
  }
  if (config.contains("bias") && config["bias"] != "none")
    return bad_config(path, "the field \"bias\" is not \"none\"; trained biases are not supported");
  return Status::ok();
}

Result<float> scale_of(const fs::path& path, const nlohmann::json& config) {
  std::uint64_t rank = 0;
  double alpha = 0.0;
  bool rank_stabilized = false;
  if (!read_field(config, "r", &rank) || rank == 0 || rank > kPeftRankMax)
    return bad_config(path,
                      "the field \"r\" is not a rank from 1 to " + std::to_string(kPeftRankMax));
  if (!read_field(config, "lora_alpha", &alpha) || alpha == 0.0)
    return bad_config(path, "the field \"lora_alpha\" is not a number other than 0");
  if (config.contains("use_rslora") && !read_field(config, "use_rslora", &rank_stabilized))
    return bad_config(path, "the field \"use_rslora\" is neither true nor false");
  const auto width = static_cast<double>(rank);
  return static_cast<float>(alpha / (rank_stabilized ? std::sqrt(width) : width));
}

}  // namespace

Result<nlohmann::json> read_peft_json(const fs::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kConfigBytesMax));
  JsonLimits limits;
  limits.bytes_max = kConfigBytesMax;
  return parse_json(text, path.string(), limits);
}

Result<float> read_peft_scale(const fs::path& folder) {
  const fs::path path = folder / kPeftConfigName;
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json fields, read_peft_json(path));
  if (!fields.is_object()) return bad_config(path, "the text is not a JSON object");
  TROUPE_RETURN_IF_ERROR(check_config(path, fields));
  return scale_of(path, fields);
}

Result<std::vector<float>> read_peft_values(const Safetensors& file,
                                            const SafetensorsTensor& tensor) {
  if (!tensor.type)
    return Status(Code::kBadData, tensor.name + " has the type " + tensor.dtype +
                                      ", which is none of F32, F16 and BF16");
  const quant::Format* format = quant::find(*tensor.type);
  std::size_t count = 1;
  for (const std::uint64_t size : tensor.shape) count *= size;
  std::vector<float> values(count);
  format->dequantize(file.bytes(tensor).data(), count / format->block_elements, values.data());
  file.drop(tensor);
  return values;
}

}  // namespace troupe::model
