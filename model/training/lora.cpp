#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/training/lora.h>
#include <troupe/runtime/numerics/philox.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// A number that separates the draws of adapters from other draws of the same seed.
constexpr std::uint32_t kLoraChoice = 0x6c6f7261;

constexpr std::array<std::pair<std::size_t, std::string_view>, 7> kShortNames{{{kQ, "q"},
                                                                               {kK, "k"},
                                                                               {kV, "v"},
                                                                               {kAttnOut, "o"},
                                                                               {kGate, "gate"},
                                                                               {kUp, "up"},
                                                                               {kDown, "down"}}};

// Returns the matrices of the layers, in the model's order.
std::vector<TensorSpec> linear_tensors(const ModelConfig& config) {
  std::vector<TensorSpec> specs = stage_tensors(config, {0, config.layers});
  std::erase_if(specs,
                [](const TensorSpec& spec) { return spec.layer == kNoLayer || spec.rows == 0; });
  return specs;
}

std::string_view short_name(std::size_t slot) {
  for (const auto& [known, name] : kShortNames)
    if (known == slot) return name;
  return "";
}

bool names(const std::string& target, const ModelConfig& config, const TensorSpec& spec) {
  const std::string module = lora_module(config, spec);
  return target == short_name(spec.slot) || target == module || module.ends_with("." + target);
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void draw_a(Adapter* adapter, std::uint64_t seed, std::uint64_t number) {
  const std::size_t inputs = adapter->down.spec.rows;
  const double bound = 1.0 / std::sqrt(static_cast<double>(inputs));
  for (std::size_t row = 0; row < adapter->rank(); ++row)
    for (std::size_t input = 0; input < inputs; ++input) {
      const double draw = uniform_draw(seed, (number << 40) + row * inputs + input, kLoraChoice);
      adapter->a(row, input) = static_cast<float>(bound * (2.0 * draw - 1.0));
    }
}

}  // namespace

float LoraOptions::scale() const {
  const auto width = static_cast<double>(rank);
  return static_cast<float>(alpha_value() / (rank_stabilized ? std::sqrt(width) : width));
}

std::string lora_module(const ModelConfig& config, const TensorSpec& spec) {
  const std::string name = hf_module(config, spec);
  const std::string number = "." + std::to_string(spec.layer) + ".";
  return name.substr(name.find(number) + number.size());
}

std::vector<std::string> lora_modules(const ModelConfig& config) {
  std::vector<std::string> modules;
  for (const TensorSpec& spec : linear_tensors(config)) {
    if (spec.whole != 0) continue;
    std::string module = lora_module(config, spec);
    if (std::find(modules.begin(), modules.end(), module) == modules.end())
      modules.push_back(std::move(module));
  }
  return modules;
}

Result<std::vector<TensorSpec>> lora_targets(const ModelConfig& config,
                                             const LoraOptions& options) {
  const std::vector<TensorSpec> all = linear_tensors(config);
  std::vector<bool> is_chosen(all.size());
  for (const std::string& target : options.targets) {
    bool is_known = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (target != "all-linear" && !names(target, config, all[i])) continue;
      is_known = true;
      if (all[i].whole != 0)
        return Status(Code::kInvalidArgument,
                      "the model stores the matrix of " + all[i].name +
                          " together with others, and such a matrix cannot have an adapter yet; "
                          "give --lora-targets others: " +
                          listed(lora_modules(config)));
      is_chosen[i] = true;
    }
    if (!is_known)
      return Status(Code::kInvalidArgument, "the model has no matrix " + in_quotes(target, 60) +
                                                "; those that can have an adapter are " +
                                                listed(lora_modules(config)));
  }
  std::vector<TensorSpec> chosen;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (is_chosen[i]) chosen.push_back(all[i]);
  for (const TensorSpec& spec : chosen)
    if (options.rank > std::min(spec.rows, spec.columns))
      return Status(Code::kInvalidArgument,
                    "an adapter of rank " + std::to_string(options.rank) + " is larger than " +
                        spec.name + " of " + std::to_string(spec.rows) + " times " +
                        std::to_string(spec.columns) + "; give a smaller --lora-rank");
  return chosen;
}

void freeze_for_adapters(Parameters& parameters) {
  parameters.freeze();
  for (const std::size_t slot : {kClassifier, kClassifierBias})
    if (Parameter* head = parameters.find(kNoLayer, slot); head != nullptr) head->trained = true;
}

Status add_lora(const ModelConfig& config, const LoraOptions& options, Parameters& parameters) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<TensorSpec> targets, lora_targets(config, options));
  freeze_for_adapters(parameters);
  std::uint64_t number = 0;
  for (const TensorSpec& spec : targets) {
    auto adapter = std::make_unique<Adapter>(spec, options.rank, options.scale());
    draw_a(adapter.get(), options.seed, number++);
    parameters.add(std::move(adapter));
  }
  return Status::ok();
}

void merge_adapters(Parameters& parameters, ThreadPool& pool) {
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i; (i = next.fetch_add(1)) < parameters.adapters().size();) {
      Adapter& adapter = *parameters.adapters()[i];
      merge_rows(adapter, *parameters.find(adapter.layer, adapter.slot), 0, adapter.up.spec.rows);
      std::memset(adapter.up.values(), 0, adapter.up.floats * sizeof(float));
    }
  });
}

}  // namespace troupe::model
