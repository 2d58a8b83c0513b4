#include <array>

#include <troupe/model/families/family.h>

namespace troupe::model {

std::span<const Family> families() {
#define TROUPE_FAMILY_ROW(name) k##name##Family,
  static const std::array table{TROUPE_FAMILIES(TROUPE_FAMILY_ROW)};
#undef TROUPE_FAMILY_ROW
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
