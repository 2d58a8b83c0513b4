#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/family.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/hf_config.h>
#include <troupe/model/source/hf_folder.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/first_values.h>
#include <troupe/model/training/gguf_tokenizer_text.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/new_model.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTokenizerBytesMax = std::size_t{64} << 20;

class NewModel final : public TensorSource {
 public:
  NewModel(GgufHeader header, const ModelConfig& config, const NewModelOptions& options)
      : header_(std::move(header)), seed_(options.seed) {
    const double onto_residual =
        config.post_norm ? options.deviation
                         : options.deviation / std::sqrt(2.0 * static_cast<double>(config.layers));
    for (const TensorSpec& spec : stage_tensors(config, {0, config.layers})) {
      const bool is_onto = spec.layer != kNoLayer && (spec.slot == kAttnOut || spec.slot == kDown);
      Tensor& tensor = tensors_[spec.name];
      tensor.deviation = is_onto ? onto_residual : options.deviation;
      tensor.is_vector = spec.rows == 0;
      tensor.floats = header_.tensor(spec.name)->bytes / sizeof(float);
    }
  }

  const GgufHeader& header() const override { return header_; }

  Result<std::span<const std::byte>> bytes(std::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      return Status(Code::kNotFound, "the new model has no tensor " + in_quotes(name));
    const Tensor& tensor = found->second;
    const std::scoped_lock lock(tensor.mutex);
    if (tensor.values.empty()) tensor.values = drawn(found->first, tensor);
    ++tensor.users;
    return std::as_bytes(std::span(tensor.values));
  }
  std::string where(std::string_view) const override { return "the new model"; }
  // Ends one use of a tensor's values. Values that nobody uses are dropped, and drawn again when
  // they are needed.
  void drop(std::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return;
    const std::scoped_lock lock(found->second.mutex);
    if (--found->second.users == 0) found->second.values = {};
  }

 private:
  struct Tensor {
    double deviation = 0.0;
    bool is_vector = false;
    std::size_t floats = 0;
    mutable std::mutex mutex;  // protects the rest
    mutable std::size_t users = 0;
    mutable std::vector<float> values;
  };

  std::vector<float> drawn(const std::string& name, const Tensor& tensor) const {
    if (tensor.is_vector)
      return std::vector<float>(tensor.floats, name.ends_with(".weight") ? 1.0f : 0.0f);
    std::vector<float> values(tensor.floats);
    draw_first_values(seed_, name, tensor.deviation, values);
    return values;
  }

  const GgufHeader header_;
  const std::uint64_t seed_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

// Returns the texts of a tokenizer in the form that a header has, and the ids at which generation
// ends.
Result<GgufMetadata> tokenizer_texts(const fs::path& path) {
  GgufMetadata texts;
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    TROUPE_ASSIGN_OR_RETURN(const auto source, open_gguf(path.string()));
    if (!has_tokenizer(source->header())) return no_tokenizer().with_context(path.string());
    TROUPE_ASSIGN_OR_RETURN(const TokenizerTexts made, gguf_tokenizer_texts(source->header()));
    texts[std::string(header_keys::kTokenizerJson)] = made.tokenizer_json;
    texts[std::string(header_keys::kTokenizerConfigJson)] = made.tokenizer_config_json;
    texts[std::string(header_keys::kGenerationConfigJson)] = made.generation_config_json;
  } else {
    for (const FolderText& one : kFolderTexts) {
      if (one.key == header_keys::kConfigJson || texts.contains(one.key) ||
          !fs::is_regular_file(path / one.file, error))
        continue;
      TROUPE_ASSIGN_OR_RETURN(texts[std::string(one.key)],
                              read_file(path / one.file, kTokenizerBytesMax));
    }
    if (!texts.contains(header_keys::kTokenizerJson))
      return Status(Code::kFailedPrecondition, path.string() + " has no tokenizer.json");
  }
  std::vector<std::int64_t> ends;
  const auto take_ends = [&](std::string_view text, const std::string& what) -> Status {
    TROUPE_ASSIGN_OR_RETURN(const HfConfig config, HfConfig::parse(text, what));
    if (ends.empty()) {
      TROUPE_ASSIGN_OR_RETURN(ends, config.integers("eos_token_id"));
    }
    return Status::ok();
  };
  if (const auto found = texts.find(header_keys::kGenerationConfigJson); found != texts.end())
    TROUPE_RETURN_IF_ERROR(take_ends(std::get<std::string>(found->second),
                                     (path / "generation_config.json").string()));
  if (fs::is_regular_file(path / "config.json", error)) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text,
                            read_file(path / "config.json", kTokenizerBytesMax));
    TROUPE_RETURN_IF_ERROR(take_ends(text, (path / "config.json").string()));
  }
  if (!ends.empty()) texts[std::string(header_keys::kEndTokenIds)] = ends;
  return texts;
}

// Returns config.json of the model, with the ids of the tokenizer.
Result<std::string> config_text(const ModelConfig& config, const Tokenizer& tokenizer) {
  TROUPE_ASSIGN_OR_RETURN(const std::string plain, hf_config_text({}, config, {}));
  TROUPE_ASSIGN_OR_RETURN(nlohmann::ordered_json out,
                          parse_ordered_json(plain, "config.json", kTextLimits));
  const auto add = [&](const char* field, TokenId id) {
    if (id >= 0) out[field] = id;
  };
  add("bos_token_id", tokenizer.bos());
  add("pad_token_id", tokenizer.pad());
  const std::vector<TokenId> ends = tokenizer.end_tokens();
  if (ends.size() == 1) {
    add("eos_token_id", ends.front());
  } else if (!ends.empty()) {
    out["eos_token_id"] = ends;
  }
  return out.dump(2) + "\n";
}

TensorInfo f32_tensor(const std::string& name, std::vector<std::uint64_t> shape) {
  TensorInfo info{name, quant::Type::kF32, std::move(shape), 0, sizeof(float)};
  for (const std::uint64_t size : info.shape) info.bytes *= size;
  return info;
}

// Returns the tensors that show the family's reader what the model has.
std::vector<TensorInfo> telling_tensors(const ModelConfig& config) {
  const std::uint64_t channels = config.channels;
  std::vector<TensorInfo> tensors = {
      f32_tensor("token_embd.weight", {config.vocabulary, channels})};
  if (config.causal) return tensors;
  tensors.push_back(f32_tensor("token_types.weight", {config.token_types, channels}));
  tensors.push_back(f32_tensor("cls.weight", {channels, channels}));
  tensors.push_back(f32_tensor("cls.bias", {channels}));
  return tensors;
}

}  // namespace

Result<std::unique_ptr<TensorSource>> new_model(const NewModelOptions& options) {
  ModelConfig config = options.config;
  const Family* family = find_family(config.family);
  if (family == nullptr)
    return Status(Code::kInvalidArgument, "there is no model family " + in_quotes(config.family));
  GgufHeader header;
  header.what = "the new model";
  TROUPE_ASSIGN_OR_RETURN(header.metadata, tokenizer_texts(options.tokenizer));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, open_tokenizer(header, 0));
  if (config.vocabulary == 0) config.vocabulary = tokenizer->vocabulary();
  if (tokenizer->vocabulary() > config.vocabulary)
    return Status(Code::kInvalidArgument,
                  "the tokenizer has " + std::to_string(tokenizer->vocabulary()) +
                      " tokens, but the vocabulary is " + std::to_string(config.vocabulary));
  TROUPE_ASSIGN_OR_RETURN(const std::string text, config_text(config, *tokenizer));
  TROUPE_ASSIGN_OR_RETURN(const HfConfig folder_config, HfConfig::parse(text, "config.json"));
  header.metadata["general.architecture"] = std::string(family->name);
  header.metadata[std::string(header_keys::kConfigJson)] = text;
  TROUPE_RETURN_IF_ERROR(family->hf.metadata(folder_config, &header.metadata));
  header.tensors = telling_tensors(config);
  TROUPE_ASSIGN_OR_RETURN(config, config_from_gguf(header));
  // Several specs may be parts of one tensor.
  std::map<std::string, TensorInfo> tensors;
  for (const TensorSpec& spec : stage_tensors(config, {0, config.layers})) {
    std::vector<std::uint64_t> shape = {spec.rows == 0 ? spec.columns : spec.rows};
    if (spec.whole != 0) shape[0] = spec.whole;
    if (spec.rows != 0) shape.push_back(spec.columns);
    tensors.emplace(spec.name, f32_tensor(spec.name, std::move(shape)));
  }
  header.tensors.clear();
  for (auto& [name, info] : tensors) header.tensors.push_back(std::move(info));
  TROUPE_ASSIGN_OR_RETURN(config, config_from_gguf(header));
  return std::unique_ptr<TensorSource>(
      std::make_unique<NewModel>(std::move(header), config, options));
}

}  // namespace troupe::model
