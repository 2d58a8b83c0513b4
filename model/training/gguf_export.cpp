#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/new_file.h>
#include <troupe/model/training/gguf_encoder_tokenizer.h>
#include <troupe/model/training/gguf_export.h>
#include <troupe/model/training/gguf_tokenizer_keys.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/transformer/rope_table.h>
#include <troupe/runtime/quant/encode.h>

namespace troupe::model {
namespace {

// Returns general.file_type, as llama.cpp numbers it.
std::uint32_t file_type(quant::Type type) {
  switch (type) {
    case quant::Type::kF16:
      return 1;
    case quant::Type::kQ4_0:
      return 2;
    case quant::Type::kQ4_1:
      return 3;
    case quant::Type::kQ8_0:
      return 7;
    default:
      return 0;
  }
}

// Returns general.architecture. GGUF files of Mistral's models call themselves llama, and those of
// BERT's descendants bert.
std::string architecture(const ModelConfig& config) {
  for (const char* descendant : {"distilbert", "roberta", "xlm-roberta", "camembert"})
    if (config.family == descendant) return "bert";
  return config.family == "mistral" ? "llama" : config.family;
}

bool is_dropped(std::string_view key) {
  // The new file has its own alignment.
  return key.starts_with("troupe.") || key.starts_with("split.") || key == "general.alignment";
}

// Returns the tensors of the file under their GGUF names. The rows of q and k of llama's family are
// in the order in which llama.cpp rotates them: pairs are neighbours.
std::map<std::string, HfTensor> tensors_of(const ModelConfig& config,
                                           const Parameters& parameters) {
  std::map<std::string, HfTensor> tensors;
  for (const Parameter& parameter : parameters.all()) {
    const TensorSpec& spec = parameter.spec;
    HfTensor& tensor = tensors[spec.name];
    tensor.parts.push_back(&parameter);
    tensor.shape = {spec.whole != 0 ? spec.whole : spec.rows != 0 ? spec.rows : spec.columns};
    if (spec.rows != 0) tensor.shape.push_back(spec.columns);
    const bool is_turned = spec.layer != kNoLayer && (spec.slot == kQ || spec.slot == kK);
    if (architecture(config) == "llama" && !config.rope_interleaved && is_turned) {
      tensor.head_dim = config.head_dim;
      tensor.rotary_dim = config.rotary_dim;
      tensor.to_neighbours = true;
    }
  }
  return tensors;
}

quant::Type type_of(const HfTensor& tensor, quant::Type wanted) {
  const TensorSpec& spec = tensor.parts.front()->spec;
  const bool is_small =
      spec.layer == kNoLayer && (spec.slot == kPositionEmbedding || spec.slot == kTypeEmbedding);
  if (spec.rows == 0 || is_small) return quant::Type::kF32;
  const bool fits = spec.columns % quant::find(wanted)->block_elements == 0;
  return fits ? wanted : quant::Type::kF16;
}

void add_encoder_keys(std::vector<std::string> labels, const ModelConfig& config,
                      const std::string& prefix, GgufMetadata* out) {
  (*out)[prefix + "attention.causal"] = false;
  const auto types = static_cast<std::uint32_t>(std::max<std::size_t>(config.token_types, 1));
  (*out)["tokenizer.ggml.token_type_count"] = types;
  if (config.labels == 0) return;
  constexpr std::uint32_t kRank = 4;  // llama.cpp's number for the way in which a classifier pools
  (*out)[prefix + "pooling_type"] = kRank;
  if (labels.size() == config.labels)
    (*out)[prefix + "classifier.output_labels"] = std::move(labels);
}

}  // namespace

std::vector<float> llama3_rope_factors(const ModelConfig& config) {
  std::vector<float> factors;
  if (config.rope_scaling != RopeScaling::kLlama3) return factors;
  ModelConfig plain = config;
  plain.rope_scaling = RopeScaling::kNone;
  const std::vector<double> whole = rope_frequencies(plain, {});
  const std::vector<double> scaled = rope_frequencies(config, {});
  for (std::size_t i = 0; i < whole.size(); ++i)
    factors.push_back(static_cast<float>(whole[i] / scaled[i]));
  return factors;
}

Result<GgufMetadata> export_metadata(const GgufHeader& header, const ModelConfig& config,
                                     quant::Type type, std::vector<std::string> labels) {
  if (config.head == EncoderHead::kToken)
    return Status(Code::kFailedPrecondition,
                  "GGUF has no key for a model that labels words; write a folder instead: give an "
                  "output that does not end in .gguf, or --to safetensors");
  if (labels.empty()) labels = label_names(header);
  GgufMetadata out;
  const bool is_folder = header.metadata.contains(header_keys::kConfigJson);
  const std::string prefix = config.family + ".", renamed = architecture(config) + ".";
  for (const auto& [key, value] : header.metadata)
    if (!is_dropped(key))
      out[key.starts_with(prefix) ? renamed + key.substr(prefix.size()) : key] = value;
  out["general.architecture"] = architecture(config);
  out["general.file_type"] = file_type(type);
  out["general.quantization_version"] = std::uint32_t{2};
  if (!is_folder) return out;
  if (config.relative_buckets > 0)
    return Status(Code::kFailedPrecondition, "GGUF has no architecture for models of the family " +
                                                 config.family +
                                                 ": write a Hugging Face folder instead");
  // GGUF has a tensor where config.json says "llama3".
  if (config.rope_scaling == RopeScaling::kLlama3)
    std::erase_if(
        out, [&](const auto& entry) { return entry.first.starts_with(renamed + "rope.scaling."); });
  if (!out.contains("general.name")) out["general.name"] = std::string("troupe");
  out[renamed + "vocab_size"] = static_cast<std::uint32_t>(config.vocabulary);
  if (config.rotary_dim != 0)
    out[renamed + "rope.dimension_count"] = static_cast<std::uint32_t>(config.rotary_dim);
  if (config.causal) {
    TROUPE_RETURN_IF_ERROR(add_gguf_tokenizer(header, config.vocabulary, &out));
  } else {
    add_encoder_keys(std::move(labels), config, renamed, &out);
    TROUPE_RETURN_IF_ERROR(add_gguf_encoder_tokenizer(header, config.vocabulary, &out));
  }
  return out;
}

Result<std::string> write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                               const ModelConfig& config, const Parameters& parameters,
                               quant::Type type) {
  std::map<std::string, HfTensor> tensors = tensors_of(config, parameters);
  const std::vector<float>& stored = parameters.weights().ends[kRopeFactors].vector;
  const std::vector<float> factors = stored.empty() ? llama3_rope_factors(config) : stored;
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : tensors) {
    const quant::Type stored = type_of(tensor, type);
    const quant::Format& format = *quant::find(stored);
    std::uint64_t count = 1;
    for (const std::uint64_t size : tensor.shape) count *= size;
    infos.push_back(
        {name, stored, tensor.shape, 0, count / format.block_elements * format.block_bytes});
  }
  if (!factors.empty())
    infos.push_back({"rope_freqs.weight",
                     quant::Type::kF32,
                     {factors.size()},
                     0,
                     factors.size() * sizeof(float)});
  NewFile file(path, "gguf");
  TROUPE_RETURN_IF_ERROR(file.open());
  const std::string header = write_gguf_header(narrow_gguf_text(metadata), &infos);
  TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(header))));
  std::uint64_t at = header.size();
  std::vector<std::byte> bytes;
  for (const TensorInfo& info : infos) {
    const auto found = tensors.find(info.name);
    const std::vector<float> values =
        found == tensors.end() ? factors : hf_values(found->second, [](const Parameter& parameter) {
          return parameter.stored_values();
        });
    bytes.assign(info.offset - at + info.bytes,
                 std::byte{0});  // the tensor's bytes and the gap before them
    if (!quant::encode(info.type, values.data(), values.size(), bytes.data() + (info.offset - at)))
      return Status(Code::kInvalidArgument, "the tensor " + info.name + " has a value that " +
                                                std::string(quant::find(info.type)->name) +
                                                " cannot hold; export it with --type F32");
    TROUPE_RETURN_IF_ERROR(file.write(bytes));
    at = info.offset + info.bytes;
  }
  TROUPE_RETURN_IF_ERROR(file.finish());
  return file.hash();
}

}  // namespace troupe::model
