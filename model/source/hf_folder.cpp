#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include <troupe/model/families/family.h>
#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/model/source/hf_folder.h>
#include <troupe/model/source/hf_quantization.h>
#include <troupe/model/source/laid_out_model.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTextBytesMax = std::size_t{64} << 20;
constexpr const char* kConfigName = "config.json";

Status no_config(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "adapter_config.json", error))
    return Status(Code::kNotFound, folder.string() +
                                       " has no config.json: it is an adapter; run the model that "
                                       "it was trained for with --adapter " +
                                       folder.string());
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".gguf") files.insert(entry.path().filename().string());
  if (!files.empty())
    return Status(Code::kNotFound,
                  folder.string() + " has no config.json, but " + *files.begin() +
                      (files.size() > 1 ? " and other GGUF files" : "") +
                      "; give the path of the file: " + (folder / *files.begin()).string());
  return Status(Code::kNotFound, folder.string() + " has no config.json; give a GGUF file, or a " +
                                     "folder with config.json and model.safetensors");
}

// Returns the name that the pattern `to` gives to a `name` of the pattern `from`, or "" if `name`
// does not fit it. '*' stands for a number as std::to_string writes it.
std::string renamed(std::string_view name, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const std::size_t star = from.find('*'), to_star = to.find('*');
    if (star == from.npos) return name == from ? out + std::string(to) : "";
    if (!name.starts_with(from.substr(0, star))) return "";
    name.remove_prefix(star);
    const std::string_view number =
        name.substr(0, std::min(name.find_first_not_of("0123456789"), name.size()));
    if (number.empty() || number.size() > 6 || (number[0] == '0' && number.size() > 1)) return "";
    out += std::string(to.substr(0, to_star)) + std::string(number);
    name.remove_prefix(number.size());
    from.remove_prefix(star + 1);
    to.remove_prefix(to_star + 1);
  }
}

// Says whether `name` is a tensor of a layer for which the family has no use: then the model has
// other layers than the family computes. Buffers that some versions save do not count.
bool is_foreign(std::string_view name, const HfFolder& hf) {
  for (const char* buffer : {".inv_freq", ".attn.bias", ".attn.masked_bias", "position_ids"})
    if (name.ends_with(buffer)) return false;
  for (const HfName& known : hf.names) {
    const std::size_t star = known.hf.find('*');
    if (star != known.hf.npos && name.starts_with(known.hf.substr(0, star))) return true;
  }
  return false;
}

// The tensors of a folder that its family knows, by their GGUF names.
struct Chosen {
  std::map<std::string, const SafetensorsTensor*> tensors;
  std::map<std::string, quant::Type> formats;  // of tensors that the files call bytes
  std::vector<std::string> transposed;         // sorted
  std::set<std::string> spare;                 // tensors that yield to another one of their name
};

// Removes the prefix that files with a head, or with more than a text model, put before a name.
std::string_view without_prefix(std::string_view name, const HfFolder& hf) {
  constexpr std::string_view kText = "language_model.";
  if (name.starts_with(kText)) name.remove_prefix(kText.size());
  if (name.starts_with(hf.prefix)) name.remove_prefix(hf.prefix.size());
  if (name.starts_with(kText)) name.remove_prefix(kText.size());
  return name;
}

// Removes the suffix that marks a name as that of a matrix's scales. Returns false if there is
// none.
bool is_scale_of(std::string_view* name) {
  for (const std::string_view suffix : kHfScaleSuffixes) {
    if (!name->ends_with(suffix)) continue;
    const std::string_view weight = name->substr(0, name->size() - suffix.size());
    if (!weight.ends_with(".weight")) continue;
    *name = weight;
    return true;
  }
  return false;
}

// Explains what a tensor for which the family has no use says about the weights, and what to do.
std::string foreign_advice(std::string_view name) {
  for (const char* suffix : {".qweight", ".qzeros", ".g_idx"})
    if (name.ends_with(suffix))
      return "the weights are quantized by GPTQ or AWQ, which this version cannot read: take the "
             "folder of the model as it was before, or a GGUF file of it";
  if (name.find(".lora_") != name.npos)
    return "it is a part of an adapter: merge it into the weights (PEFT's merge_and_unload), or "
           "give the adapter's folder with --adapter";
  return "the weights are of another kind of model: take a folder whose config.json fits its "
         "weights, or a GGUF file of the model";
}

// Checks a tensor that the file calls bytes. If it consists of blocks, its last two sizes are the
// number of blocks and the bytes of one.
Status check_bytes(const SafetensorsTensor& tensor, quant::Type type, const std::string& what) {
  const quant::Format& format = *quant::find(type);
  if (tensor.dtype != "U8" && !(tensor.dtype == "F8_E8M0" && format.block_elements == 1))
    return Status(Code::kBadData, what + " has the dtype " + tensor.dtype +
                                      ", expected U8; take the folder from where it is whole");
  const bool is_blocks = format.block_elements > 1;
  const std::size_t sizes = is_blocks ? 3 : 2;
  if (tensor.shape.size() < sizes || tensor.bytes == 0 ||
      (is_blocks && tensor.shape.back() != format.block_bytes))
    return Status(Code::kBadData, what + " has a shape that no tensor can have in the format " +
                                      std::string(format.name) +
                                      "; take the folder from where it is whole");
  return Status::ok();
}

// Returns the shape of the matrix that a tensor holds.
std::vector<std::uint64_t> matrix_shape(const SafetensorsTensor& tensor,
                                        const quant::Format& format) {
  std::vector<std::uint64_t> shape = tensor.shape;
  if (shape.empty()) shape = {1};
  if (tensor.type || format.block_elements == 1) return shape;
  shape.pop_back();
  shape.back() *= format.block_elements;
  return shape;
}

Status check_chosen(const SafetensorsTensor& tensor, bool is_scale, const std::string& what) {
  if (!tensor.type || (is_scale && tensor.dtype.starts_with("F8")))
    return Status(Code::kBadData, what + " has the dtype " + tensor.dtype + ", expected F32, F16" +
                                      (is_scale ? " or BF16" : ", BF16, F8_E4M3 or F8_E5M2") +
                                      "; take the folder of the model as it was before it was "
                                      "quantized, or a GGUF file of it");
  // The scale of a whole matrix is often a number, not a vector.
  if ((tensor.shape.empty() && !is_scale) || tensor.bytes == 0)
    return Status(Code::kBadData, what + " holds no vector or matrix");
  return Status::ok();
}

Result<Chosen> choose_tensors(const Safetensors& files, const HfFolder& hf,
                              const std::string& folder) {
  Chosen chosen;
  for (const SafetensorsTensor& tensor : files.tensors()) {
    const std::string_view name = without_prefix(tensor.name, hf);
    std::string_view weight = name;
    const bool is_scale = is_scale_of(&weight);
    bool is_known = is_activation_scale(name);
    for (const HfName& known : hf.names) {
      std::string gguf = renamed(weight, known.hf, known.gguf);
      if (gguf.empty()) continue;
      if (is_scale) gguf = scale_name(gguf);
      const std::string what = folder + ": tensor " + in_quotes(tensor.name);
      TROUPE_RETURN_IF_ERROR(known.format ? check_bytes(tensor, *known.format, what)
                                          : check_chosen(tensor, is_scale, what));
      if (known.format) chosen.formats[gguf] = *known.format;
      is_known = true;
      const auto [place, is_new] = chosen.tensors.emplace(gguf, &tensor);
      if (is_new) {
        if (known.spare) chosen.spare.insert(gguf);
      } else if (known.spare) {
        break;
      } else if (chosen.spare.erase(gguf) > 0) {
        place->second = &tensor;
      } else {
        return Status(Code::kBadData,
                      what + " appears twice, also as " + in_quotes(place->second->name));
      }
      if (known.transposed && !is_scale) chosen.transposed.push_back(gguf);
      break;
    }
    if (!is_known && is_foreign(name, hf))
      return Status(Code::kBadData,
                    folder + ": tensor " + in_quotes(tensor.name) +
                        " does not belong to a model of config.json's model_type; " +
                        foreign_advice(name));
  }
  std::sort(chosen.transposed.begin(), chosen.transposed.end());
  return chosen;
}

// Checks that each matrix of a quantized folder has its scales, without which it would be read as
// something else.
Status check_scales(const Chosen& chosen, const std::string& folder) {
  for (const auto& [name, tensor] : chosen.tensors)
    if (tensor->dtype.starts_with("F8") && tensor->shape.size() > 1 &&
        !chosen.formats.contains(name) && !chosen.tensors.contains(scale_name(name)))
      return Status(Code::kBadData, folder + ": tensor " + in_quotes(tensor->name) + " is " +
                                        tensor->dtype + ", but its scales (" +
                                        in_quotes(tensor->name + "_scale") +
                                        " or \"..._scale_inv\") are missing; take the folder from "
                                        "where it is whole");
  for (const auto& [name, format] : chosen.formats)
    if (quant::find(format)->block_elements > 1 && !chosen.tensors.contains(scale_name(name)))
      return Status(Code::kBadData, folder + ": tensor " +
                                        in_quotes(chosen.tensors.at(name)->name) +
                                        " has no scales (\"..._scales\"); take the folder from "
                                        "where it is whole");
  return Status::ok();
}

class FolderModel final : public LaidOutModel {
 public:
  static Result<std::unique_ptr<WholeModel>> open(const fs::path& folder);

  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end())
      return Status(Code::kNotFound, folder_ + " has no tensor " + in_quotes(tensor));
    return files_.bytes(*found->second);
  }

  std::string where(std::string_view tensor) const override {
    const auto found = tensors_.find(tensor);
    return found == tensors_.end() ? folder_ : files_.path(*found->second).string();
  }

  void drop(std::string_view tensor) const override {
    const auto found = tensors_.find(tensor);
    if (found != tensors_.end()) files_.drop(*found->second);
  }

  void drop_piece(std::span<const std::byte> piece) const override { files_.drop_range(piece); }

 private:
  FolderModel(Safetensors files, std::string folder)
      : files_(std::move(files)), folder_(std::move(folder)) {}
  void choose_head(Chosen* chosen, GgufMetadata* metadata) const;
  Status make_header(const HfFolder& hf, const HfQuantization& quantization, GgufMetadata metadata);
  std::span<const std::byte> bytes_of(const TensorInfo& tensor) const override {
    return files_.bytes(*tensors_.find(tensor.name)->second);
  }

  Safetensors files_;
  const std::string folder_;
  std::map<std::string, const SafetensorsTensor*, std::less<>> tensors_;  // by GGUF name
};

// Decides which matrix is the head. The field "tie_word_embeddings" of config.json is often stale:
// a head of its own counts if it differs from the embedding, and a matrix that is stored once
// stands for both.
void FolderModel::choose_head(Chosen* chosen, GgufMetadata* metadata) const {
  const auto flag = metadata->find(header_keys::kTiedEmbedding);
  if (flag == metadata->end() || flag->second != GgufValue(true)) return;
  const auto head = chosen->tensors.find("output.weight");
  if (head == chosen->tensors.end()) return;
  const auto embedding = chosen->tensors.find("token_embd.weight");
  const auto scales = chosen->tensors.find(scale_name("output.weight"));
  if (embedding == chosen->tensors.end()) {
    chosen->tensors["token_embd.weight"] = head->second;
    if (scales != chosen->tensors.end())
      chosen->tensors[scale_name("token_embd.weight")] = scales->second;
    chosen->tensors.erase("output.weight");
    chosen->tensors.erase(scale_name("output.weight"));
    return;
  }
  const auto one = files_.bytes(*head->second), other = files_.bytes(*embedding->second);
  const bool same = scales == chosen->tensors.end() &&
                    head->second->type == embedding->second->type &&
                    head->second->shape == embedding->second->shape &&
                    std::equal(one.begin(), one.end(), other.begin(), other.end());
  files_.drop(*head->second);
  files_.drop(*embedding->second);
  if (same) {
    chosen->tensors.erase(head);
  } else {
    flag->second = false;
  }
}

Status FolderModel::make_header(const HfFolder& hf, const HfQuantization& quantization,
                                GgufMetadata metadata) {
  TROUPE_ASSIGN_OR_RETURN(Chosen chosen, choose_tensors(files_, hf, folder_));
  if (quantization.is_quantized || !chosen.formats.empty())
    TROUPE_RETURN_IF_ERROR(check_scales(chosen, folder_));
  if (!quantization.block.empty())
    metadata[std::string(header_keys::kScaleBlock)] = quantization.block;
  choose_head(&chosen, &metadata);
  if (!chosen.transposed.empty())
    metadata[std::string(header_keys::kTransposed)] = chosen.transposed;
  std::vector<TensorInfo> tensors;
  for (const auto& [name, tensor] : chosen.tensors) {
    tensors_[name] = tensor;
    const auto format = chosen.formats.find(name);
    const quant::Type type = format == chosen.formats.end() ? *tensor->type : format->second;
    tensors.push_back({name, type, matrix_shape(*tensor, *quant::find(type)), 0, tensor->bytes});
  }
  std::string text = write_gguf_header(metadata, &tensors);
  const std::uint64_t bytes =
      tensors.empty() ? text.size() : tensors.back().offset + tensors.back().bytes;
  return lay_out(std::move(text), bytes, folder_);
}

// Returns the ids at which generation ends, from generation_config.json or else from config.json.
Result<std::vector<std::int64_t>> end_tokens(const fs::path& folder, const HfConfig& config) {
  constexpr const char* kField = "eos_token_id";
  const fs::path path = folder / "generation_config.json";
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kTextBytesMax));
    TROUPE_ASSIGN_OR_RETURN(const HfConfig generation, HfConfig::parse(text, path.string()));
    if (generation.has(kField)) return generation.integers(kField);
  }
  return config.integers(kField);
}

Status check_vocabulary(const HfConfig& config, const GgufHeader& header) {
  constexpr const char* kField = "vocab_size";
  const TensorInfo* embedding = header.tensor("token_embd.weight");
  if (embedding == nullptr || !config.has(kField))
    return Status::ok();  // later checks find what is missing
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t wanted, config.u64(kField));
  if (wanted == embedding->shape.front()) return Status::ok();
  return config.bad("the field \"vocab_size\" is " + std::to_string(wanted) +
                    ", but the embedding has " + std::to_string(embedding->shape.front()) +
                    " rows; the files are not of one model: take the folder from one source");
}

// Compares the number of layers in the weights with the number in config.json.
Status check_layers(const HfConfig& config, const GgufHeader& header) {
  constexpr std::string_view kLayer = "blk.";
  std::uint64_t layers = 0;
  for (const TensorInfo& tensor : header.tensors) {
    if (!tensor.name.starts_with(kLayer)) continue;
    layers = std::max<std::uint64_t>(layers, std::stoul(tensor.name.substr(kLayer.size())) + 1);
  }
  const char* const field = config.has("n_layer")    ? "n_layer"
                            : config.has("n_layers") ? "n_layers"
                                                     : "num_hidden_layers";
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t wanted, config.u64(field));
  if (layers == 0 || layers == wanted)
    return Status::ok();  // without any layer, later checks say more
  return config.bad("the field \"" + std::string(field) + "\" is " + std::to_string(wanted) +
                    ", but the weights have " + std::to_string(layers) +
                    " layers; the files are not of one model: take the folder from one source");
}

Result<std::unique_ptr<WholeModel>> FolderModel::open(const fs::path& folder) {
  Result<std::string> text = read_file(folder / kConfigName, kTextBytesMax);
  if (!text.is_ok() && text.code() == Code::kNotFound) return no_config(folder);
  if (!text.is_ok()) return text.status();
  TROUPE_ASSIGN_OR_RETURN(const HfConfig whole,
                          HfConfig::parse(*text, (folder / kConfigName).string()));
  // A model that also sees pictures contains a text model, which is run alone.
  constexpr const char* kTextModel = "text_config";
  HfConfig config = whole;
  if (whole.has(kTextModel)) {
    TROUPE_ASSIGN_OR_RETURN(config, whole.inner(kTextModel));
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string type, config.string("model_type"));
  const Family* family = find_hf_family(type);
  if (family == nullptr) {
    std::string known;
    for (const Family& one : families())
      known += (known.empty() ? "" : ", ") + std::string(one.hf.model_type);
    return config.bad("the field \"model_type\" is " + in_quotes(type, 40) +
                      "; this version can run " + known);
  }
  const bool knows_mxfp4 = std::any_of(family->hf.names.begin(), family->hf.names.end(),
                                       [](const HfName& name) { return name.format.has_value(); });
  TROUPE_ASSIGN_OR_RETURN(const HfQuantization quantization, read_quantization(whole, knows_mxfp4));
  GgufMetadata metadata;
  metadata["general.architecture"] = std::string(family->name);
  TROUPE_RETURN_IF_ERROR(family->hf.metadata(config, &metadata));
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> ends, end_tokens(folder, whole));
  if (!ends.empty()) metadata[std::string(header_keys::kEndTokenIds)] = ends;
  std::error_code error;
  for (const FolderText& one : kFolderTexts) {
    if (metadata.contains(one.key) || !fs::is_regular_file(folder / one.file, error)) continue;
    TROUPE_ASSIGN_OR_RETURN(metadata[std::string(one.key)],
                            read_file(folder / one.file, kTextBytesMax));
  }
  TROUPE_ASSIGN_OR_RETURN(Safetensors files, Safetensors::open_folder(folder));
  std::unique_ptr<FolderModel> model(new FolderModel(std::move(files), folder.string()));
  TROUPE_RETURN_IF_ERROR(model->make_header(family->hf, quantization, std::move(metadata)));
  TROUPE_RETURN_IF_ERROR(check_vocabulary(config, model->header()));
  TROUPE_RETURN_IF_ERROR(check_layers(config, model->header()));
  return std::unique_ptr<WholeModel>(std::move(model));
}

}  // namespace

Result<std::unique_ptr<WholeModel>> open_hf_folder(const fs::path& folder) {
  return FolderModel::open(folder);
}

Result<std::vector<fs::path>> hf_folder_files(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / kConfigName, error)) return no_config(folder);
  TROUPE_ASSIGN_OR_RETURN(std::vector<fs::path> files, safetensors_files(folder));
  for (const FolderText& one : kFolderTexts)
    if (fs::is_regular_file(folder / one.file, error)) files.push_back(folder / one.file);
  return files;
}

}  // namespace troupe::model
