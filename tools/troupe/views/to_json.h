#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/actors/troupe/fields.h>

// The public door's values as JSON, for --json. Pure.

namespace troupe::tools {

// Takes any value of troupe/fields.h, or an optional (null if absent), a vector or a map of such
// values.
struct ToJson {
  template <class T>
  nlohmann::json operator()(const std::optional<T>& value) const {
    return value ? (*this)(*value) : nlohmann::json();
  }
  template <class T>
  nlohmann::json operator()(const std::vector<T>& values) const {
    auto list = nlohmann::json::array();
    for (const T& value : values) list.push_back((*this)(value));
    return list;
  }
  template <class T>
  nlohmann::json operator()(const std::map<std::string, T>& values) const {
    auto object = nlohmann::json::object();
    for (const auto& [key, value] : values) object[key] = (*this)(value);
    return object;
  }
  template <class T>
  nlohmann::json operator()(const T& value) const {
    if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else {
      auto object = nlohmann::json::object();
      visit_fields(value,
                   [&](const char* name, const auto& field) { object[name] = (*this)(field); });
      return object;
    }
  }
};
inline constexpr ToJson to_json;

}  // namespace troupe::tools
