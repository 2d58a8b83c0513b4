#include <array>

#include <troupe/model/families/family.h>

namespace troupe::model {

std::span<const Family> families() {
  static const std::array table{
      kLlamaFamily,      kMistralFamily, kQwen2Family,     kQwen3Family,      kGpt2Family,
      kBertFamily,       kGemma2Family,  kGemma3Family,    kPhi3Family,       kOlmo2Family,
      kSmolLm3Family,    kGraniteFamily, kGlm4Family,      kMixtralFamily,    kQwen2MoeFamily,
      kQwen3MoeFamily,   kGptOssFamily,  kRobertaFamily,   kXlmRobertaFamily, kCamembertFamily,
      kDistilBertFamily, kMpnetFamily,   kModernBertFamily};
  return table;
}

const Family* find_family(std::string_view name) {
  for (const Family& family : families())
    if (family.name == name) return &family;
  return nullptr;
}

const Family* find_hf_family(std::string_view model_type) {
  for (const Family& family : families())
    if (family.hf.model_type == model_type) return &family;
  return nullptr;
}

}  // namespace troupe::model
