#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <numeric>

#include <troupe/model/convert/recipe.h>

namespace troupe::model {
namespace {

using quant::Type;

constexpr Recipe kRecipes[] = {
    {"F32", Type::kF32, 0},        {"F16", Type::kF16, 1},        {"BF16", Type::kBF16, 32},
    {"Q8_0", Type::kQ8_0, 7},      {"Q4_0", Type::kQ4_0, 2},      {"Q4_1", Type::kQ4_1, 3},
    {"Q5_0", Type::kQ5_0, 8},      {"Q5_1", Type::kQ5_1, 9},      {"Q2_K", Type::kQ2_K, 10},
    {"Q2_K_S", Type::kQ2_K, 21},   {"Q3_K_S", Type::kQ3_K, 11},   {"Q3_K_M", Type::kQ3_K, 12},
    {"Q3_K_L", Type::kQ3_K, 13},   {"Q4_K_S", Type::kQ4_K, 14},   {"Q4_K_M", Type::kQ4_K, 15},
    {"Q5_K_S", Type::kQ5_K, 16},   {"Q5_K_M", Type::kQ5_K, 17},   {"Q6_K", Type::kQ6_K, 18},
    {"IQ4_NL", Type::kIQ4_NL, 25}, {"IQ4_XS", Type::kIQ4_XS, 30}, {"MXFP4", Type::kMXFP4, 38},
    {"TQ1_0", Type::kTQ1_0, 36},   {"TQ2_0", Type::kTQ2_0, 37},
};

std::uint32_t block_of(Type type) { return quant::find(type)->block_elements; }

bool is_single(Type type) { return block_of(type) == 1; }

int layer_of(const std::string& name) {
  constexpr std::string_view kLayer = "blk.";
  return name.starts_with(kLayer) ? std::atoi(name.c_str() + kLayer.size()) : -1;
}

bool contains(const std::string& name, const char* part) { return name.find(part) != name.npos; }

bool is_quantized(const TensorInfo& tensor) {
  const std::string& name = tensor.name;
  const auto sizes = std::count_if(tensor.shape.begin(), tensor.shape.end(),
                                   [](std::uint64_t size) { return size > 1; });
  // A matrix of one row still counts as a matrix if it has a second dimension in ggml's order.
  const bool is_matrix = sizes >= 2 || (tensor.shape.size() >= 2 && tensor.shape.front() > 1);
  return is_matrix && name.ends_with("weight") && !contains(name, "_norm.weight") &&
         !contains(name, "ffn_gate_inp.weight") && !contains(name, "attn_rel_b.weight") &&
         name != "position_embd.weight" && name != "token_types.weight";
}

// Returns the format to take instead in a matrix whose rows the format does not divide.
Type fallback(Type type, std::uint64_t columns) {
  if (columns % block_of(type) == 0) return type;
  Type smaller = type;
  if (type == Type::kIQ4_XS) smaller = Type::kIQ4_NL;
  for (const Type few_bits : {Type::kQ2_K, Type::kQ3_K, Type::kTQ1_0, Type::kTQ2_0})
    if (type == few_bits) smaller = Type::kQ4_0;
  if (type == Type::kQ4_K) smaller = Type::kQ5_0;
  if (type == Type::kQ5_K) smaller = Type::kQ5_1;
  if (type == Type::kQ6_K) smaller = Type::kQ8_0;
  return columns % block_of(smaller) == 0 ? smaller : Type::kF16;
}

// True for the first and last eighths of the layers, and for every third layer between them.
bool gets_more_bits(int layer, int layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

class Chooser {
 public:
  Chooser(const Recipe& recipe, const ModelConfig& config, std::string_view architecture,
          std::span<const TensorInfo> tensors)
      : recipe_(recipe), config_(config), layers_(static_cast<int>(config.layers)) {
    is_70b_ = layers_ == 80 && (architecture == "llama" || architecture == "qwen2");
    queries_per_key_ = config.kv_heads == 0 ? 1 : config.heads / config.kv_heads;
    for (const TensorInfo& tensor : tensors) {
      if (is_value(tensor.name)) ++values_;
      if (tensor.name == "output.weight") tied_ = false;
    }
  }

  // Must be called in the order of layers, and of names within a layer.
  Type choose(const TensorInfo& tensor) {
    if (!is_quantized(tensor)) return tensor.type;
    if (is_single(recipe_.type)) return recipe_.type;
    return fallback(standard(tensor), tensor.shape.back());
  }

 private:
  static bool is_value(const std::string& name) {
    return contains(name, "attn_v.weight") || contains(name, "attn_qkv.weight");
  }
  bool is(const char* name) const { return recipe_.name == name; }

  Type standard(const TensorInfo& tensor) {
    const std::string& name = tensor.name;
    const bool is_embedding = name == "token_embd.weight";
    if (name == "output.weight" || (tied_ && is_embedding)) return output(tensor);
    if (is("MXFP4"))
      return tensor.shape.size() > 2 && tensor.shape.front() > 1 ? Type::kMXFP4 : Type::kQ8_0;
    if (is_embedding) return is("TQ1_0") || is("TQ2_0") ? Type::kQ4_K : recipe_.type;
    if (is_value(name)) return value();
    if (contains(name, "attn_k.weight")) return config_.experts == 8 ? Type::kQ8_0 : recipe_.type;
    if (contains(name, "attn_output.weight")) return attention_output();
    if (contains(name, "ffn_down")) return down(name);
    return recipe_.type;
  }

  Type output(const TensorInfo& tensor) const {
    if (is("MXFP4") || tensor.shape.back() % block_of(recipe_.type) != 0) return Type::kQ8_0;
    return recipe_.type == Type::kQ8_0 ? Type::kQ8_0 : Type::kQ6_K;
  }

  Type value() {
    const int place = value_++;
    Type type = recipe_.type;
    if (is("Q2_K")) type = queries_per_key_ >= 4 ? Type::kQ4_K : Type::kQ3_K;
    if (is("Q2_K_S") && queries_per_key_ >= 4) type = Type::kQ4_K;
    if (is("Q3_K_M")) type = place < 2 ? Type::kQ5_K : Type::kQ4_K;
    if (is("Q3_K_L")) type = Type::kQ5_K;
    if ((is("IQ4_NL") || is("IQ4_XS")) && queries_per_key_ >= 4) type = Type::kQ5_K;
    if ((is("Q4_K_M") || is("Q5_K_M")) && gets_more_bits(place, values_)) type = Type::kQ6_K;
    if (is("Q4_K_S") && place < 4) type = Type::kQ5_K;
    if (is_70b_ && (type == Type::kQ3_K || type == Type::kQ4_K)) type = Type::kQ5_K;
    return config_.experts == 8 ? Type::kQ8_0 : type;
  }

  Type attention_output() const {
    if (config_.experts == 8) {
      for (const char* one : {"Q2_K", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ4_XS"})
        if (is(one)) return Type::kQ5_K;
      return recipe_.type;
    }
    if (is("Q2_K")) return Type::kQ3_K;
    if (is("Q3_K_M")) return Type::kQ4_K;
    return is("Q3_K_L") ? Type::kQ5_K : recipe_.type;
  }

  Type down(const std::string& name) {
    // Experts that are tensors of their own do not come in the order of layers.
    const int place = config_.experts > 1 ? layer_of(name) : down_;
    ++down_;
    const bool is_first_eighth = place < layers_ / 8;
    const bool has_more = gets_more_bits(place, layers_);
    if (is("Q2_K")) return Type::kQ3_K;
    if (is("Q2_K_S")) return is_first_eighth ? Type::kQ4_K : recipe_.type;
    if (is("Q3_K_M")) return place < layers_ / 16 ? Type::kQ5_K : Type::kQ4_K;
    if (is("Q3_K_L")) return Type::kQ5_K;
    if (is("Q4_K_M") || is("Q5_K_M")) return has_more ? Type::kQ6_K : recipe_.type;
    if (is("IQ4_NL") || is("IQ4_XS") || is("Q4_K_S"))
      return is_first_eighth ? Type::kQ5_K : recipe_.type;
    return recipe_.type;
  }

  const Recipe& recipe_;
  const ModelConfig& config_;
  const int layers_;
  bool is_70b_ = false, tied_ = true;
  std::size_t queries_per_key_ = 1;
  int values_ = 0, value_ = 0, down_ = 0;
};

}  // namespace

std::span<const Recipe> recipes() { return kRecipes; }

const Recipe* find_recipe(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (upper == "Q3_K" || upper == "Q4_K" || upper == "Q5_K") upper += "_M";
  if (upper == "MXFP4_MOE") upper = "MXFP4";
  for (const Recipe& recipe : kRecipes)
    if (recipe.name == upper) return &recipe;
  return nullptr;
}

std::vector<Type> choose_types(const Recipe& recipe, const ModelConfig& config,
                               std::string_view architecture, std::span<const TensorInfo> tensors) {
  Chooser chooser(recipe, config, architecture, tensors);
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::string &one = tensors[a].name, &other = tensors[b].name;
    const int layer = layer_of(one), other_layer = layer_of(other);
    return layer != other_layer ? layer < other_layer : one < other;
  });
  std::vector<Type> types(tensors.size());
  for (const std::size_t index : order) types[index] = chooser.choose(tensors[index]);
  return types;
}

}  // namespace troupe::model
