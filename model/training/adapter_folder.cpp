#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/files/peft_config.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/files/safetensors_writer.h>
#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/hf_tensors.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/json_file.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kLabelsName = "labels.json";

// Returns PEFT's name of a module. If an encoder's adapter has no head, the names are those of a
// model without one.
std::string module_name(const ModelConfig& config, const TensorSpec& spec, bool is_bare) {
  return kPeftModulePrefix + (is_bare ? hf_bare_module(config, spec) : hf_module(config, spec));
}

// Returns the two tensors of an adapter.
std::pair<HfTensor, HfTensor> tensors_of(const ModelConfig& config, const TensorSpec& target,
                                         const Adapter& adapter, const std::string& module) {
  HfTensor a, b;
  a.name = module + ".lora_A.weight";
  a.shape = {adapter.rank(), adapter.down.spec.rows};
  a.parts = {&adapter.down};
  a.transposed = true;
  b.name = module + ".lora_B.weight";
  b.shape = {adapter.up.spec.rows, adapter.rank()};
  b.parts = {&adapter.up};
  set_rotation(config, target, &b);
  return {std::move(a), std::move(b)};
}

// Returns the tensors of the model that are trained in full, such as a classifier.
std::vector<HfTensor> trained_tensors(const ModelConfig& config, const Parameters& parameters) {
  std::vector<HfTensor> found;
  for (HfTensor& tensor : hf_tensors(config, parameters)) {
    if (!tensor.parts.front()->trained) continue;
    tensor.name = kPeftModulePrefix + tensor.name;
    found.push_back(std::move(tensor));
  }
  return found;
}

// Returns the field target_modules. PEFT matches a list of names by their ends. Where these would
// find other modules, too ("dense"), the modules are one pattern that fits the whole name.
ordered_json target_modules(const ModelConfig& config, Parameters& parameters) {
  std::vector<std::string> chosen, rest = lora_modules(config);
  for (const auto& adapter : parameters.adapters()) {
    const TensorSpec& spec = parameters.find(adapter->layer, adapter->slot)->spec;
    const auto module = std::find(rest.begin(), rest.end(), lora_module(config, spec));
    if (module == rest.end()) continue;  // an adapter of another layer has named it
    chosen.push_back(*module);
    rest.erase(module);
  }
  const auto last_part = [](const std::string& module) {
    return module.substr(module.rfind('.') + 1);
  };
  ordered_json list = ordered_json::array();
  bool is_clear = config.causal;
  for (const std::string& module : chosen) {
    list.push_back(last_part(module));
    for (const std::string& other : rest) is_clear &= last_part(other) != last_part(module);
  }
  if (is_clear) return list;
  std::string pattern = ".*\\.\\d+\\.(";
  for (const std::string& module : chosen) {
    if (pattern.back() != '(') pattern += '|';
    for (const char c : module) pattern += c == '.' ? std::string("\\.") : std::string(1, c);
  }
  return pattern + ")";
}

std::string config_text(const AdapterFolder& about, const ModelConfig& config,
                        Parameters& parameters) {
  const LoraOptions& options = about.options;
  const char* task = !about.labels.empty()
                         ? config.head == EncoderHead::kToken ? "TOKEN_CLS" : "SEQ_CLS"
                     : config.causal ? "CAUSAL_LM"
                                     : "FEATURE_EXTRACTION";
  ordered_json out = {{"peft_type", "LORA"},
                      {"task_type", task},
                      {"base_model_name_or_path", about.base},
                      {"inference_mode", true},
                      {"r", options.rank},
                      {"lora_alpha", options.alpha_value()},
                      {"use_rslora", options.rank_stabilized},
                      {"lora_dropout", options.dropout},
                      {"bias", "none"},
                      {"fan_in_fan_out", false},
                      {"target_modules", target_modules(config, parameters)},
                      {"modules_to_save", nullptr}};
  if (!about.labels.empty()) out["modules_to_save"] = {"classifier"};
  return out.dump(2) + "\n";
}

Status bad_adapter(const fs::path& path, const std::string& what) {
  return Status(Code::kBadData, path.string() + ": " + what);
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

// Copies a tensor of the file to the places that `place` gives.
Status take_over(const Safetensors& file, const SafetensorsTensor& from, const HfTensor& place) {
  if (from.shape != place.shape)
    return Status(Code::kBadData, from.name + " is " + shape_text(from.shape) +
                                      ", but for this model it has to be " +
                                      shape_text(place.shape) +
                                      "; the adapter was trained on another model");
  TROUPE_ASSIGN_OR_RETURN(const std::vector<float> values, read_peft_values(file, from));
  set_hf_values(place, values, [](const Parameter& parameter) {
    return const_cast<Parameter&>(parameter).values();
  });
  return Status::ok();
}

}  // namespace

Result<std::string> write_adapter_folder(const fs::path& folder, const AdapterFolder& about,
                                         const ModelConfig& config, Parameters& parameters) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return Status(Code::kUnavailable,
                  "cannot make the folder " + folder.string() + ": " + error.message());
  TROUPE_RETURN_IF_ERROR(
      write_file_atomically(folder / kPeftConfigName, config_text(about, config, parameters)));
  if (!about.labels.empty())
    TROUPE_RETURN_IF_ERROR(
        write_file_atomically(folder / kLabelsName, nlohmann::json(about.labels).dump() + "\n"));
  const bool is_bare = !config.causal && about.labels.empty();
  std::vector<HfTensor> tensors = trained_tensors(config, parameters);
  for (const auto& adapter : parameters.adapters()) {
    const Parameter* target = parameters.find(adapter->layer, adapter->slot);
    auto [a, b] =
        tensors_of(config, target->spec, *adapter, module_name(config, target->spec, is_bare));
    tensors.push_back(std::move(a));
    tensors.push_back(std::move(b));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const HfTensor& a, const HfTensor& b) { return a.name < b.name; });
  std::vector<TensorToWrite> heads;
  for (const HfTensor& tensor : tensors) heads.push_back({tensor.name, tensor.shape});
  return write_safetensors(folder / kPeftWeightsName, heads, [&](std::size_t index) {
    return hf_values(tensors[index],
                     [](const Parameter& parameter) { return parameter.stored_values(); });
  });
}

Result<EncoderHead> adapter_head(const fs::path& folder) {
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json config, read_peft_json(folder / kPeftConfigName));
  const auto task = config.find("task_type");
  return task != config.end() && *task == "TOKEN_CLS" ? EncoderHead::kToken
                                                      : EncoderHead::kSequence;
}

Result<std::vector<std::string>> adapter_labels(const fs::path& folder) {
  TROUPE_ASSIGN_OR_RETURN(const Safetensors file,
                          Safetensors::open_file(folder / kPeftWeightsName));
  const SafetensorsTensor* found = file.find(std::string(kPeftModulePrefix) + "classifier.weight");
  std::vector<std::string> labels;
  if (found == nullptr || found->shape.empty()) return labels;
  std::error_code error;
  if (fs::is_regular_file(folder / kLabelsName, error)) {
    TROUPE_ASSIGN_OR_RETURN(const nlohmann::json names, read_peft_json(folder / kLabelsName));
    for (const nlohmann::json& name : names)
      if (name.is_string()) labels.push_back(name.get<std::string>());
    if (labels.size() == found->shape[0]) return labels;
    return bad_adapter(folder / kLabelsName, "it names " + std::to_string(labels.size()) +
                                                 " labels, but the classifier has " +
                                                 std::to_string(found->shape[0]));
  }
  for (std::size_t i = 0; i < found->shape[0]; ++i) labels.push_back("LABEL_" + std::to_string(i));
  return labels;
}

Status read_adapter_folder(const fs::path& folder, const ModelConfig& config,
                           Parameters& parameters) {
  TROUPE_ASSIGN_OR_RETURN(const float scale, read_peft_scale(folder));
  const fs::path path = folder / kPeftWeightsName;
  TROUPE_ASSIGN_OR_RETURN(const Safetensors file, Safetensors::open_file(path));
  std::set<std::string> taken;
  for (const Parameter& parameter : parameters.all()) {
    const TensorSpec& spec = parameter.spec;
    if (spec.layer == kNoLayer || spec.rows == 0) continue;
    std::string module = module_name(config, spec, /*is_bare=*/false);
    if (file.find(module + ".lora_A.weight") == nullptr)
      module = module_name(config, spec, /*is_bare=*/true);
    const SafetensorsTensor* a = file.find(module + ".lora_A.weight");
    const SafetensorsTensor* b = file.find(module + ".lora_B.weight");
    if (a == nullptr && b == nullptr) continue;
    if (a == nullptr || b == nullptr || a->shape.size() != 2 || a->shape[0] == 0 ||
        a->shape[0] > kPeftRankMax)
      return bad_adapter(path, module + " needs a matrix lora_A and a matrix lora_B");
    if (spec.whole != 0)
      return bad_adapter(path,
                         module +
                             " is stored together with others, and such a matrix cannot have an "
                             "adapter yet");
    auto adapter = std::make_unique<Adapter>(spec, static_cast<std::size_t>(a->shape[0]), scale);
    const auto [place_a, place_b] = tensors_of(config, spec, *adapter, module);
    const Status status_a = take_over(file, *a, place_a);
    if (!status_a) return status_a.with_context(path.string());
    const Status status_b = take_over(file, *b, place_b);
    if (!status_b) return status_b.with_context(path.string());
    parameters.add(std::move(adapter));
    taken.insert({a->name, b->name});
  }
  for (const HfTensor& tensor : hf_tensors(config, parameters)) {
    const SafetensorsTensor* found = file.find(kPeftModulePrefix + tensor.name);
    if (found == nullptr) continue;
    const Status status = take_over(file, *found, tensor);
    if (!status) return status.with_context(path.string());
    taken.insert(found->name);
  }
  for (const SafetensorsTensor& tensor : file.tensors())
    if (!taken.contains(tensor.name))
      return bad_adapter(path, "the model has no place for the tensor " + tensor.name +
                                   "; the adapter was trained on another model");
  return Status::ok();
}

}  // namespace troupe::model
