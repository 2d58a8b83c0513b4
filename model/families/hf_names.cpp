#include <string>
#include <string_view>

#include <troupe/model/families/hf_names.h>

namespace troupe::model {
namespace {

// Returns the name of a layer's tensor as a pattern. The number of the layer becomes '*', and so
// does the number of the expert if the name has one.
std::string pattern_of(const TensorSpec& spec) {
  if (spec.layer == kNoLayer) return spec.name;
  const std::string prefix = "blk." + std::to_string(spec.layer) + ".";
  std::string rest = spec.name.substr(prefix.size());
  if (spec.expert != kNoExpert && spec.stacked == 0) {
    const std::string number = "." + std::to_string(spec.expert) + ".";
    rest.replace(rest.rfind(number), number.size(), ".*.");
  }
  return "blk.*." + rest;
}

}  // namespace

const HfName* find_hf_name(const HfFolder& hf, const TensorSpec& spec) {
  const std::string pattern = pattern_of(spec);
  for (const HfName& name : hf.names)
    if (name.gguf == pattern) return &name;
  return nullptr;
}

std::string full_hf_name(const HfFolder& hf, const HfName& name, const TensorSpec& spec) {
  std::string out(name.hf);
  if (const std::size_t star = out.find('*'); star != out.npos)
    out.replace(star, 1, std::to_string(spec.layer));
  if (const std::size_t star = out.find('*'); star != out.npos)
    out.replace(star, 1, std::to_string(spec.expert));
  const bool is_head =
      spec.layer == kNoLayer &&
      (spec.slot == kOutput || spec.slot == kClassifier || spec.slot == kClassifierBias ||
       (spec.slot >= kMaskDense && spec.slot <= kMaskBias));
  return is_head ? out : std::string(hf.prefix) + out;
}

std::string hf_name(const ModelConfig& config, const TensorSpec& spec) {
  const HfFolder& hf = find_family(config.family)->hf;
  const HfName* name = find_hf_name(hf, spec);
  TROUPE_CHECK(name != nullptr, spec.name);
  return full_hf_name(hf, *name, spec);
}

bool hf_is_transposed(const ModelConfig& config, const TensorSpec& spec) {
  const HfName* name = find_hf_name(find_family(config.family)->hf, spec);
  return name != nullptr && name->transposed;
}

std::string hf_module(const ModelConfig& config, const TensorSpec& spec) {
  constexpr std::string_view kEnding = ".weight";
  const std::string name = hf_name(config, spec);
  TROUPE_CHECK(name.ends_with(kEnding), name);
  return name.substr(0, name.size() - kEnding.size());
}

std::string hf_bare_module(const ModelConfig& config, const TensorSpec& spec) {
  const std::string name = hf_module(config, spec);
  const std::string_view prefix = find_family(config.family)->hf.prefix;
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

bool has_rotated_rows(const TensorSpec& spec) {
  return spec.layer != kNoLayer &&
         (spec.slot == kQ || spec.slot == kK || spec.slot == kQBias || spec.slot == kKBias);
}

bool has_neighbour_rows(const ModelConfig& config, const TensorSpec& spec) {
  return config.rotary_dim != 0 && config.rope_interleaved && has_rotated_rows(spec);
}

std::size_t neighbour_row(std::size_t row, std::size_t head_dim, std::size_t rotary_dim) {
  const std::size_t in_head = row % head_dim, half = rotary_dim / 2;
  if (in_head >= rotary_dim) return row;
  return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

std::size_t folder_row(std::size_t row, std::size_t head_dim, std::size_t rotary_dim) {
  const std::size_t in_head = row % head_dim, half = rotary_dim / 2;
  if (in_head >= rotary_dim) return row;
  return row - in_head + in_head / 2 + in_head % 2 * half;
}

}  // namespace troupe::model
