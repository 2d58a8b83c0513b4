#include <array>

#include <troupe/model/families/family.h>

namespace troupe::model {

std::span<const Family> families() {
  static const std::array<Family, 1> table{kLlamaFamily};
  return table;
}

const Family* find_family(std::string_view name) {
  for (const Family& family : families())
    if (family.name == name) return &family;
  return nullptr;
}

}  // namespace troupe::model
