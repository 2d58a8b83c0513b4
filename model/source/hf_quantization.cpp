#include <cstdlib>
#include <string>

#include <troupe/model/source/hf_quantization.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

const std::string kQuantization = "quantization_config";
const std::string kMlxField = "quantization";  // as Apple's MLX writes it

// Reports a method by its name in config.json, with `more` about it.
Status cannot_read(const HfConfig& config, const std::string& field, const std::string& method,
                   const std::string& more) {
  return config.bad(
      "the field \"" + field + "\" says that the weights are quantized" +
      (method.empty() ? "" : " by " + in_quotes(method, 40)) + (more.empty() ? "" : " as " + more) +
      ", which this version cannot read; of quantized folders it reads FP8 (fp8, "
      "fbgemm_fp8, modelopt, compressed-tensors with float-quantized weights) and "
      "gpt-oss in MXFP4: take the folder of the model as it was before, or a GGUF file of it");
}

// Reads "block_structure", a list of two numbers, or "128x128" as older files have it.
Result<std::vector<std::int64_t>> block_structure(const HfConfig& config,
                                                  const std::string& field) {
  const Result<std::string> text = config.string(field);
  if (!text) return config.integers(field);
  const std::size_t by = text->find('x');
  const std::int64_t rows = std::strtoll(text->c_str(), nullptr, 10);
  const std::int64_t columns =
      by == text->npos ? 0 : std::strtoll(text->c_str() + by + 1, nullptr, 10);
  if (rows > 0 && columns > 0) return std::vector<std::int64_t>{rows, columns};
  return config.bad("the field \"" + field + "\" is " + in_quotes(*text, 40) +
                    ", expected two sizes such as \"128x128\"");
}

bool is_float_format(const std::string& format) {
  return format == "float-quantized" || format == "naive-quantized" || format == "dense";
}

// Reads one of the groups of layers that compressed-tensors has: each has a scheme of its own.
Status read_group(const HfConfig& config, const std::string& field, const std::string& method,
                  HfQuantization* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::string format, config.string(field + ".format", "dense"));
  if (!is_float_format(format)) return cannot_read(config, field, method, in_quotes(format, 40));
  const std::string weights = field + ".weights";
  if (!config.has(weights)) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const std::string type, config.string(weights + ".type", "int"));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t bits, config.u64(weights + ".num_bits", 8));
  if (type != "float" || bits != 8)
    return cannot_read(config, field, method,
                       in_quotes(type, 40) + " of " + std::to_string(bits) + " bits");
  if (config.has(weights + ".block_structure")) {
    TROUPE_ASSIGN_OR_RETURN(out->block, block_structure(config, weights + ".block_structure"));
  }
  return Status::ok();
}

Status read_compressed_tensors(const HfConfig& config, const std::string& field,
                               const std::string& method, HfQuantization* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::string format, config.string(field + ".format", "dense"));
  if (!is_float_format(format) && format != "mixed-precision")
    return cannot_read(config, field, method, in_quotes(format, 40));
  TROUPE_ASSIGN_OR_RETURN(const std::string sparsity,
                          config.string(field + ".sparsity_config.format", "dense"));
  if (sparsity != "dense")
    return cannot_read(config, field + ".sparsity_config", method, in_quotes(sparsity, 40));
  if (!config.fields_of(field + ".transform_config.config_groups").empty())
    return cannot_read(config, field + ".transform_config", method, "transformed weights");
  for (const std::string& group : config.fields_of(field + ".config_groups"))
    TROUPE_RETURN_IF_ERROR(read_group(config, field + ".config_groups." + group, method, out));
  return Status::ok();
}

}  // namespace

Result<HfQuantization> read_quantization(const HfConfig& config, bool knows_mxfp4) {
  HfQuantization out;
  // The latter is the name that compressed-tensors once used.
  const std::string field = config.has(kQuantization) ? kQuantization : "compression_config";
  if (!config.has(field) && config.has(kMlxField + ".bits")) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t bits, config.u64(kMlxField + ".bits"));
    return cannot_read(config, kMlxField, "MLX", "numbers of " + std::to_string(bits) + " bits");
  }
  if (!config.has(field)) return out;
  out.is_quantized = true;
  TROUPE_ASSIGN_OR_RETURN(std::string method, config.string(field + ".quant_method", ""));
  if (method == "compressed-tensors" || (method.empty() && config.has(field + ".config_groups"))) {
    TROUPE_RETURN_IF_ERROR(read_compressed_tensors(config, field, method, &out));
  } else if (method == "modelopt") {
    TROUPE_ASSIGN_OR_RETURN(const std::string kind, config.string(field + ".quant_algo", ""));
    if (!kind.starts_with("FP8")) return cannot_read(config, field, method, in_quotes(kind, 40));
  } else if (method != "fp8" && method != "fbgemm_fp8" && !(method == "mxfp4" && knows_mxfp4)) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t bits, config.u64(field + ".bits", 0));
    return cannot_read(config, field, method,
                       bits != 0 ? "numbers of " + std::to_string(bits) + " bits" : "");
  }
  if (config.has(field + ".weight_block_size")) {
    TROUPE_ASSIGN_OR_RETURN(out.block, config.integers(field + ".weight_block_size"));
  }
  if (!out.block.empty() && (out.block.size() != 2 || out.block[0] < 1 || out.block[1] < 1))
    return config.bad("the size of a block of weights with one scale, in \"" + field +
                      "\", is not two numbers from 1 on");
  return out;
}

bool is_activation_scale(std::string_view tensor) {
  for (const char* name : {".input_scale", ".activation_scale", ".output_scale", ".q_scale",
                           ".k_scale", ".v_scale", ".kv_scale"})
    if (tensor.ends_with(name)) return true;
  return false;
}

}  // namespace troupe::model
