#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/hf_names.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/peft_config.h>
#include <troupe/model/source/adapted_model.h>
#include <troupe/model/source/laid_out_model.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/json_file.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPairBytesMax = std::size_t{1} << 16;

Status misfit(const fs::path& adapter, const std::string& what) {
  return Status(Code::kBadData, (adapter / kPeftWeightsName).string() + ": " + what);
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

// The adapter's tensors as the model computes with them.
struct AdapterTensors {
  std::vector<TensorInfo> infos;
  std::map<std::string, std::vector<float>, std::less<>> values;
};

class AdapterReader {
 public:
  AdapterReader(const ModelConfig& config, const fs::path& folder, const Safetensors& file)
      : config_(config), folder_(folder), file_(file) {}

  Result<AdapterTensors> read() {
    for (const TensorSpec& spec : stage_tensors(config_, {0, config_.layers}))
      if (spec.layer != kNoLayer && spec.rows != 0 && spec.expert == kNoExpert)
        TROUPE_RETURN_IF_ERROR(read_matrix(spec));
    for (const SafetensorsTensor& tensor : file_.tensors()) {
      if (taken_.contains(tensor.name)) continue;
      const bool is_lora = tensor.name.find(".lora_") != std::string::npos;
      return misfit(folder_,
                    is_lora ? "the model has no place for the tensor " + tensor.name +
                                  "; the adapter was trained on another model"
                            : "the tensor " + tensor.name +
                                  " replaces one of the model's own; merge such an adapter with "
                                  "troupe export");
    }
    if (out_.infos.empty()) return misfit(folder_, "there is no adapter in it");
    return std::move(out_);
  }

 private:
  Status read_matrix(const TensorSpec& spec) {
    if (find_hf_name(find_family(config_.family)->hf, spec) == nullptr) return Status::ok();
    std::string module = kPeftModulePrefix + hf_module(config_, spec);
    // An adapter of a model without a head has names without a prefix.
    if (file_.find(module + ".lora_A.weight") == nullptr)
      module = kPeftModulePrefix + hf_bare_module(config_, spec);
    const SafetensorsTensor* a = file_.find(module + ".lora_A.weight");
    const SafetensorsTensor* b = file_.find(module + ".lora_B.weight");
    if (a == nullptr && b == nullptr) return Status::ok();
    if (a == nullptr || b == nullptr || a->shape.size() != 2 || a->shape[0] == 0)
      return misfit(folder_, module + " needs a matrix lora_A and a matrix lora_B");
    if (spec.whole != 0)
      return misfit(folder_, module +
                                 " is stored together with others, and such a matrix cannot have "
                                 "an adapter yet");
    const std::uint64_t rank = a->shape[0];
    if (rank > kAdapterRankMax)
      return misfit(folder_, module + " has an adapter of rank " + std::to_string(rank) +
                                 "; the highest that is computed beside weights is " +
                                 std::to_string(kAdapterRankMax) +
                                 ", so merge it with troupe "
                                 "export");
    TROUPE_RETURN_IF_ERROR(take(spec, *a, {rank, spec.columns}, adapter_a_name(spec.name)));
    return take(spec, *b, {spec.rows, rank}, adapter_b_name(spec.name));
  }

  Status take(const TensorSpec& spec, const SafetensorsTensor& from,
              const std::vector<std::uint64_t>& shape, std::string name) {
    if (from.shape != shape)
      return misfit(folder_, from.name + " is " + shape_text(from.shape) +
                                 ", but for this model it has to be " + shape_text(shape) +
                                 "; the adapter was trained on another model");
    auto read = read_peft_values(file_, from);
    if (!read) return read.status().with_context((folder_ / kPeftWeightsName).string());
    for (const float value : *read)
      if (!std::isfinite(value))
        return misfit(folder_, from.name + " holds a NaN or an infinity; train it again");
    std::vector<float>& values = out_.values[name];
    values = std::move(*read);
    if (shape[0] == spec.rows && name.ends_with(kAdapterB) && has_neighbour_rows(config_, spec))
      values = turned(values, shape[1]);
    out_.infos.push_back(
        {std::move(name), quant::Type::kF32, shape, 0, shape[0] * shape[1] * sizeof(float)});
    taken_.insert(from.name);
    return Status::ok();
  }

  // Returns the rows of B in the order of the model's rows.
  std::vector<float> turned(const std::vector<float>& stored, std::size_t rank) const {
    std::vector<float> values(stored.size());
    for (std::size_t row = 0; row * rank < stored.size(); ++row)
      std::copy_n(stored.data() + row * rank, rank,
                  values.data() + neighbour_row(row, config_.head_dim, config_.rotary_dim) * rank);
    return values;
  }

  const ModelConfig& config_;
  const fs::path& folder_;
  const Safetensors& file_;
  AdapterTensors out_;
  std::set<std::string> taken_;
};

class AdaptedModel final : public LaidOutModel {
 public:
  static Result<std::unique_ptr<WholeModel>> make(std::unique_ptr<WholeModel> base,
                                                  const fs::path& adapter,
                                                  const std::string& what) {
    TROUPE_ASSIGN_OR_RETURN(const ModelConfig config, config_from_gguf(base->header()));
    TROUPE_ASSIGN_OR_RETURN(const float scale, read_peft_scale(adapter));
    TROUPE_ASSIGN_OR_RETURN(const Safetensors file,
                            Safetensors::open_file(adapter / kPeftWeightsName));
    TROUPE_ASSIGN_OR_RETURN(AdapterTensors tensors, AdapterReader(config, adapter, file).read());
    std::unique_ptr<AdaptedModel> made(new AdaptedModel);
    made->base_ = std::move(base);
    made->adapter_file_ = (adapter / kPeftWeightsName).string();
    made->values_ = std::move(tensors.values);
    GgufMetadata metadata = made->base_->header().metadata;
    metadata.erase("general.alignment");  // the pair is laid out with the usual alignment
    metadata[std::string(header_keys::kAdapterScale)] = scale;
    std::vector<TensorInfo> all = made->base_->header().tensors;
    all.insert(all.end(), tensors.infos.begin(), tensors.infos.end());
    std::string text = write_gguf_header(metadata, &all);
    const std::uint64_t bytes = all.back().offset + all.back().bytes;
    TROUPE_RETURN_IF_ERROR(made->lay_out(std::move(text), bytes, what));
    return std::unique_ptr<WholeModel>(std::move(made));
  }

  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    if (const auto own = values_of(tensor)) return *own;
    return base_->bytes(tensor);
  }
  std::string where(std::string_view tensor) const override {
    return values_.contains(tensor) ? adapter_file_ : base_->where(tensor);
  }
  void drop(std::string_view tensor) const override {
    if (!values_.contains(tensor)) base_->drop(tensor);
  }
  void drop_piece(std::span<const std::byte> piece) const override {
    for (const auto& [name, values] : values_) {
      const auto own = std::as_bytes(std::span(values));
      if (piece.data() >= own.data() && piece.data() < own.data() + own.size()) return;
    }
    base_->drop_piece(piece);
  }

 private:
  std::optional<std::span<const std::byte>> values_of(std::string_view tensor) const {
    const auto found = values_.find(tensor);
    if (found == values_.end()) return std::nullopt;
    return std::as_bytes(std::span(found->second));
  }
  std::span<const std::byte> bytes_of(const TensorInfo& tensor) const override {
    if (const auto own = values_of(tensor.name)) return *own;
    const auto found = base_->bytes(tensor.name);
    TROUPE_CHECK(found.is_ok(), tensor.name);
    return *found;
  }

  std::unique_ptr<WholeModel> base_;
  std::string adapter_file_;
  std::map<std::string, std::vector<float>, std::less<>> values_;
};

}  // namespace

bool is_adapted_model(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / kAdaptedName, error);
}

Result<fs::path> write_adapted_model(const fs::path& place, const fs::path& base,
                                     const fs::path& adapter) {
  const nlohmann::json object{{"base", fs::absolute(base).lexically_normal().string()},
                              {"adapter", fs::absolute(adapter).lexically_normal().string()}};
  const std::string text = object.dump(1) + "\n";
  Sha256 hash;
  hash.update(std::as_bytes(std::span(text.data(), text.size())));
  const auto name_of = [](const fs::path& path) {
    const fs::path clean = path.lexically_normal();
    return (clean.has_filename() ? clean : clean.parent_path()).filename().string();
  };
  const fs::path folder =
      place / hash.hex().substr(0, 16) / (name_of(base) + "+" + name_of(adapter));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return Status(Code::kUnavailable, "cannot make the folder " + folder.string() + ": " +
                                          error.message() +
                                          "; give a --home (or TROUPE_HOME) that can be written");
  // A file that is there already has the same content.
  if (!is_adapted_model(folder))
    TROUPE_RETURN_IF_ERROR(write_file_atomically(folder / kAdaptedName, text));
  return folder;
}

Result<AdaptedPair> read_adapted_pair(const fs::path& folder) {
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json object,
                          read_json_file(folder / kAdaptedName, kPairBytesMax));
  std::string base, adapter;
  if (!read_field(object, "base", &base)) return bad_field(folder / kAdaptedName, "base");
  if (!read_field(object, "adapter", &adapter)) return bad_field(folder / kAdaptedName, "adapter");
  if (is_adapted_model(base))
    return Status(Code::kInvalidArgument,
                  base + " has an adapter already, and a model runs with one adapter at a time");
  return AdaptedPair{base, adapter};
}

Result<std::unique_ptr<WholeModel>> add_adapter(std::unique_ptr<WholeModel> base,
                                                const fs::path& adapter, const std::string& what) {
  return AdaptedModel::make(std::move(base), adapter, what);
}

Result<std::vector<fs::path>> adapter_files(const fs::path& adapter) {
  std::vector<fs::path> files;
  for (const char* name : {kPeftConfigName, kPeftWeightsName}) {
    std::error_code error;
    if (!fs::is_regular_file(adapter / name, error))
      return Status(Code::kNotFound, adapter.string() + " has no " + name +
                                         "; give the folder of an adapter, as troupe finetune "
                                         "--lora-rank or PEFT writes it");
    files.push_back(adapter / name);
  }
  return files;
}

}  // namespace troupe::model
