#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/convert/convert.h>
#include <troupe/model/convert/tensor_values.h>
#include <troupe/model/families/hf_names.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/new_file.h>
#include <troupe/model/files/safetensors_writer.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/model/training/gguf_export.h>
#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/runtime/quant/encode.h>

namespace troupe::model {
namespace {

constexpr std::size_t kPieceValues = std::size_t{4} << 20;

bool is_folder(const WholeModel& source) {
  return source.header().metadata.contains(header_keys::kConfigJson);
}

bool is_turned(const GgufHeader& header, const std::string& name) {
  const auto found = header.metadata.find(header_keys::kTransposed);
  if (found == header.metadata.end()) return false;
  const auto* names = std::get_if<std::vector<std::string>>(&found->second);
  return names != nullptr && std::binary_search(names->begin(), names->end(), name);
}

std::uint64_t values_of(const TensorInfo& tensor) {
  std::uint64_t count = 1;
  for (const std::uint64_t size : tensor.shape) count *= size;
  return count;
}

std::uint64_t bytes_in(quant::Type type, std::uint64_t values) {
  const quant::Format& format = *quant::find(type);
  return values / format.block_elements * format.block_bytes;
}

// A tensor of the new file. `info` has its name, shape and type.
struct Planned {
  TensorInfo info;
  TensorPlan plan;
  std::vector<float> values = {};  // F32, if the model has no such tensor
};

Status does_not_fit(const std::string& tensor, quant::Type type) {
  return Status(Code::kInvalidArgument, "the tensor " + tensor + " has a value that " +
                                            std::string(quant::find(type)->name) +
                                            " cannot hold; take --type F32 or BF16");
}

// Writes a tensor piece by piece; all threads make a piece together.
Status write_tensor(const WholeModel& source, const Planned& planned, ThreadPool& pool,
                    NewFile* file, bool* requantized) {
  TROUPE_ASSIGN_OR_RETURN(const PlannedTensor tensor, PlannedTensor::open(source, planned.plan));
  const quant::Format& format = *quant::find(planned.info.type);
  if (format.block_elements > 1 && tensor.format().block_elements > 1) *requantized = true;
  // A vector is one row of the file, whose blocks may be larger than its rows here.
  const std::size_t row_bytes = tensor.columns() / format.block_elements * format.block_bytes;
  if (tensor.columns() % format.block_elements != 0)
    return Status(Code::kFailedPrecondition,
                  "the tensor " + planned.info.name + " cannot be " + std::string(format.name));
  const std::size_t piece = std::max<std::size_t>(kPieceValues / tensor.columns(), 1);
  std::vector<std::byte> bytes;
  for (std::size_t first = 0; first < tensor.rows(); first += piece) {
    const std::size_t rows = std::min(piece, tensor.rows() - first);
    bytes.resize(rows * row_bytes);
    std::atomic<bool> fits = true;
    pool.run([&](int thread) {
      const IndexRange mine = split(rows, thread, pool.threads());
      std::vector<float> values(tensor.columns());
      for (std::size_t row = mine.begin; row < mine.end; ++row) {
        tensor.read(first + row, values.data());
        if (!quant::encode(format.type, values.data(), values.size(),
                           bytes.data() + row * row_bytes))
          fits = false;
      }
    });
    if (!fits) return does_not_fit(planned.info.name, format.type);
    TROUPE_RETURN_IF_ERROR(file->write(bytes));
  }
  for (const std::string& part : planned.plan.parts) source.drop(part);
  return Status::ok();
}

Status copy_tensor(const WholeModel& source, const std::string& name, NewFile* file) {
  TROUPE_ASSIGN_OR_RETURN(std::span<const std::byte> bytes, source.bytes(name));
  for (; !bytes.empty(); bytes = bytes.subspan(std::min<std::size_t>(bytes.size(), kPieceValues)))
    TROUPE_RETURN_IF_ERROR(
        file->write(bytes.first(std::min<std::size_t>(bytes.size(), kPieceValues))));
  source.drop(name);
  return Status::ok();
}

// Returns the tensors of a GGUF file as they are, including those that nobody computes with.
std::vector<Planned> all_tensors(const WholeModel& source) {
  std::vector<Planned> planned;
  for (const TensorInfo& tensor : source.header().tensors)
    planned.push_back({tensor, {tensor.name, tensor.shape, {tensor.name}}});
  return planned;
}

// Leaves out the pooler of encoders without a head, which nobody reads, and which llama.cpp would
// take for a part of a head.
bool is_written(const ModelConfig& config, const TensorSpec& spec) {
  const bool is_pooler = spec.layer == kNoLayer && spec.slot >= kPooler && spec.slot < kClassifier;
  return !is_pooler || config.labels > 0;
}

// Returns what a folder has for a spec, under the name and in the shape of GGUF. Experts that are
// tensors of their own are stacked.
std::vector<Planned> folder_tensors(const WholeModel& source, const ModelConfig& config) {
  const GgufHeader& header = source.header();
  std::vector<Planned> planned;
  if (std::vector<float> factors = llama3_rope_factors(config); !factors.empty()) {
    const std::string name = "rope_freqs.weight";
    const TensorInfo info{name, quant::Type::kF32, {factors.size()}, 0, 0};
    planned.push_back({info, {name, info.shape, {}}, std::move(factors)});
  }
  std::map<std::string, std::size_t> places;
  std::set<std::string> seen;
  for (const TensorSpec& spec : stage_tensors(config, {0, config.layers})) {
    if (!seen.insert(spec.name).second || !is_written(config, spec)) continue;
    std::string name = spec.name;
    const bool is_apart = spec.expert != kNoExpert && spec.stacked == 0;
    if (is_apart) {
      const std::string number = "." + std::to_string(spec.expert) + ".";
      name.replace(name.rfind(number), number.size(), "_exps.");
    }
    const auto [place, is_new] = places.emplace(name, planned.size());
    if (!is_new) {
      planned[place->second].plan.parts.push_back(spec.name);
      continue;
    }
    const TensorInfo* info = header.tensor(spec.name);  // config_from_gguf has found it
    if (info == nullptr) continue;
    Planned one;
    one.info.name = one.plan.name = name;
    one.info.shape = info->shape;
    one.plan.parts = {spec.name};
    one.plan.offset = spec.offset;
    one.plan.turned = spec.rows != 0 && is_turned(header, spec.name);
    if (one.plan.turned) std::swap(one.info.shape[0], one.info.shape[1]);
    // GGUF's position embeddings begin with position 0.
    if (spec.layer == kNoLayer && spec.slot == kPositionEmbedding) {
      one.plan.first_row = spec.first;
      one.info.shape[0] = spec.rows;
    }
    if (is_apart) one.info.shape.insert(one.info.shape.begin(), config.experts);
    // Vectors, and the tensors that llama-quantize leaves alone, are F32.
    one.info.type = quant::Type::kF32;
    if (has_rotated_rows(spec) && spec.expert == kNoExpert) {
      one.plan.head_dim = config.head_dim;
      one.plan.rotary_dim = config.rotary_dim;
      one.plan.to_neighbours = true;
    }
    one.plan.shape = one.info.shape;
    planned.push_back(std::move(one));
  }
  return planned;
}

// Returns the scaling that the new file's keys should state: Llama 3's is a tensor in GGUF.
RopeScaling scaling_of(const ModelConfig& model) {
  return model.rope_scaling == RopeScaling::kLlama3 ? RopeScaling::kNone : model.rope_scaling;
}

// Names what differs between the model and what the new header says, or "".
std::string difference(const ModelConfig& model, const ModelConfig& made) {
  const std::pair<const char*, bool> parts[] = {
      {"the sizes", model.layers != made.layers || model.channels != made.channels ||
                        model.ffn_channels != made.ffn_channels || model.heads != made.heads ||
                        model.kv_heads != made.kv_heads || model.head_dim != made.head_dim ||
                        model.vocabulary != made.vocabulary},
      {"the scaling of rotary frequencies",
       scaling_of(model) != made.rope_scaling || model.rope_divisors != made.rope_divisors ||
           (model.rope_factor != made.rope_factor && !made.rope_factors) ||
           model.rope_magnitude != made.rope_magnitude ||
           model.rope_whole_pairs != made.rope_whole_pairs},
      {"the rotation of q and k", model.rotary_dim != made.rotary_dim ||
                                      model.rope_theta != made.rope_theta ||
                                      model.window_rope_theta != made.window_rope_theta ||
                                      model.unrotated_period != made.unrotated_period},
      {"the attention's windows", model.window != made.window ||
                                      model.window_begin != made.window_begin ||
                                      model.window_period != made.window_period ||
                                      model.window_opens_full != made.window_opens_full},
      {"biases", model.qkv_bias != made.qkv_bias ||
                     model.attn_output_bias != made.attn_output_bias ||
                     model.ffn_bias != made.ffn_bias || model.expert_bias != made.expert_bias},
      {"norms", model.norm != made.norm || model.norm_epsilon != made.norm_epsilon ||
                    model.input_norms != made.input_norms ||
                    model.output_norms != made.output_norms || model.head_norm != made.head_norm ||
                    model.qk_norm != made.qk_norm || model.post_norm != made.post_norm},
      {"the activation", model.feed_forward != made.feed_forward},
      {"factors",
       model.attention_scale != made.attention_scale || model.attention_cap != made.attention_cap ||
           model.residual_scale != made.residual_scale ||
           model.embedding_scale != made.embedding_scale ||
           model.logit_divisor != made.logit_divisor || model.logit_cap != made.logit_cap},
      {"the experts", model.experts != made.experts || model.experts_used != made.experts_used ||
                          model.expert_channels != made.expert_channels ||
                          model.expert_weights_norm != made.expert_weights_norm ||
                          model.shared_expert != made.shared_expert ||
                          model.dense_layers != made.dense_layers ||
                          model.dense_channels != made.dense_channels},
      {"the output matrix", model.tied_embedding != made.tied_embedding},
      {"positions and segments",
       model.learned_positions != made.learned_positions ||
           (model.learned_positions && model.context_max != made.context_max) ||
           model.token_types != made.token_types ||
           model.relative_buckets != made.relative_buckets},
      {"the head",
       model.labels != made.labels ||
           (model.labels > 0 &&
            (model.pooler_kind != made.pooler_kind || model.pooler_bias != made.pooler_bias ||
             model.pooler_norm != made.pooler_norm || model.pooler_mean != made.pooler_mean))},
  };
  for (const auto& [name, differs] : parts)
    if (differs) return name;
  return "";
}

// Compares the model with the file that would be written, and settles what depends on it: whether
// rotated pairs become neighbours, and what is added to norm weights.
Status settle(const ModelConfig& config, const GgufMetadata& metadata,
              std::vector<Planned>* planned) {
  GgufHeader header;
  header.what = "the new file";
  header.metadata = metadata;
  for (const Planned& one : *planned) {
    header.tensors.push_back(one.info);
    header.tensors.back().bytes = bytes_in(one.info.type, values_of(one.info));
  }
  TROUPE_ASSIGN_OR_RETURN(const ModelConfig made, config_from_gguf(header));
  const std::string different = difference(config, made);
  if (!different.empty())
    return Status(Code::kFailedPrecondition, "a GGUF file of the family " + made.family +
                                                 " cannot express what config.json says about " +
                                                 different + "; convert it to safetensors instead");
  const bool permutes = made.rope_interleaved != config.rope_interleaved;
  if (permutes && config.fused_qkv)
    return Status(Code::kFailedPrecondition,
                  "the rotated pairs of a fused matrix cannot be written as GGUF; convert it to "
                  "safetensors instead");
  for (Planned& one : *planned) {
    if (!permutes) one.plan.head_dim = one.plan.rotary_dim = 0;
    if (one.plan.offset != 0.0f) one.plan.offset -= made.norm_offset;
  }
  return Status::ok();
}

}  // namespace

Result<Converted> convert_to_gguf(const WholeModel& source, const ModelConfig& config,
                                  const Recipe& recipe, const std::filesystem::path& path,
                                  ThreadPool& pool) {
  TROUPE_ASSIGN_OR_RETURN(GgufMetadata metadata,
                          export_metadata(source.header(), config, recipe.type));
  metadata["general.file_type"] = recipe.file_type;
  if (config.expert_pairs)
    return Status(Code::kFailedPrecondition,
                  "the experts of a folder of " + config.family +
                      ", whose gate and up matrices are one, cannot be converted yet; take a GGUF "
                      "file of the model");
  std::vector<Planned> planned =
      is_folder(source) ? folder_tensors(source, config) : all_tensors(source);
  if (is_folder(source)) TROUPE_RETURN_IF_ERROR(settle(config, metadata, &planned));
  std::vector<TensorInfo> infos;
  for (const Planned& one : planned) infos.push_back(one.info);
  const std::string architecture = std::get<std::string>(metadata["general.architecture"]);
  const std::vector<quant::Type> types = choose_types(recipe, config, architecture, infos);
  Converted out;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    planned[i].info.type = infos[i].type = types[i];
    if (const quant::Format* format = quant::find(types[i]); format != nullptr) {
      infos[i].bytes = bytes_in(types[i], values_of(infos[i]));
      ++out.formats[std::string(format->name)];
    }
  }
  NewFile file(path, "gguf");
  TROUPE_RETURN_IF_ERROR(file.open());
  const std::string header = write_gguf_header(narrow_gguf_text(metadata), &infos);
  TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(header))));
  out.bytes = header.size();
  for (std::size_t i = 0; i < infos.size(); ++i) {
    const std::vector<std::byte> gap(infos[i].offset - out.bytes);
    TROUPE_RETURN_IF_ERROR(file.write(gap));
    out.bytes = infos[i].offset + infos[i].bytes;
    if (!planned[i].values.empty()) {
      TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(planned[i].values))));
      continue;
    }
    const TensorInfo* had = source.header().tensor(planned[i].plan.parts.front());
    const bool is_same = planned[i].plan.is_copy() && had->type == infos[i].type;
    TROUPE_RETURN_IF_ERROR(is_same
                               ? copy_tensor(source, had->name, &file)
                               : write_tensor(source, planned[i], pool, &file, &out.requantized));
  }
  TROUPE_RETURN_IF_ERROR(file.finish());
  out.sha256 = file.hash();
  return out;
}

Result<Converted> convert_to_folder(const WholeModel& source, const ModelConfig& config,
                                    quant::Type type, const std::filesystem::path& folder) {
  if (config.attention_sinks)
    return Status(Code::kFailedPrecondition, "models of the family " + config.family +
                                                 " cannot be written as safetensors yet; take "
                                                 "--to gguf with a GGUF file of the model");
  TROUPE_ASSIGN_OR_RETURN(const FolderTexts texts,
                          converted_texts(source.header(), config, quant::find(type)->name));
  std::map<std::string, TensorPlan> plans;  // by the name in the folder
  std::set<std::string> seen;
  for (const TensorSpec& spec : stage_tensors(config, {0, config.layers})) {
    const TensorInfo* info = source.header().tensor(spec.name);
    if (!seen.insert(spec.name).second || info == nullptr) continue;
    TensorPlan plan{hf_name(config, spec), info->shape, {spec.name}};
    plan.turned =
        spec.rows != 0 && hf_is_transposed(config, spec) != is_turned(source.header(), spec.name);
    if (plan.turned) std::swap(plan.shape[0], plan.shape[1]);
    HfTensor rotation;
    set_rotation(config, spec, &rotation);
    plan.head_dim = rotation.head_dim;
    plan.rotary_dim = rotation.rotary_dim;
    plans.emplace(plan.name, std::move(plan));
  }
  Converted out;
  std::vector<TensorToWrite> heads;
  std::vector<const TensorPlan*> order;
  for (const auto& [name, plan] : plans) {
    heads.push_back({name, plan.shape, type});
    order.push_back(&plan);
    ++out.formats[std::string(quant::find(type)->name)];
  }
  TROUPE_RETURN_IF_ERROR(write_folder_texts(folder, texts));
  TROUPE_ASSIGN_OR_RETURN(
      out.sha256, write_safetensors(folder / "model.safetensors", heads,
                                    [&](std::size_t index) -> Result<std::vector<float>> {
                                      TROUPE_ASSIGN_OR_RETURN(
                                          const PlannedTensor tensor,
                                          PlannedTensor::open(source, *order[index]));
                                      std::vector<float> values(tensor.rows() * tensor.columns());
                                      for (std::size_t row = 0; row < tensor.rows(); ++row)
                                        tensor.read(row, values.data() + row * tensor.columns());
                                      source.drop(order[index]->parts.front());
                                      return values;
                                    }));
  out.bytes = std::filesystem::file_size(folder / "model.safetensors");
  return out;
}

}  // namespace troupe::model
