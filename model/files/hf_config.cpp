#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include <troupe/model/files/hf_config.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

using nlohmann::json;

struct HfConfig::Json {
  json value;
  // Returns nullptr if the field is absent.
  const json* find_any(std::string_view field) const {
    const json* at = &value;
    while (!field.empty()) {
      const std::size_t dot = std::min(field.find('.'), field.size());
      const auto inner = at->find(std::string(field.substr(0, dot)));
      if (inner == at->end()) return nullptr;
      at = &*inner;
      field.remove_prefix(std::min(dot + 1, field.size()));
      if (!field.empty() && !at->is_object()) return nullptr;
    }
    return at;
  }
  // Returns nullptr if the field is absent or null.
  const json* find(std::string_view field) const {
    const json* found = find_any(field);
    return found == nullptr || found->is_null() ? nullptr : found;
  }
};

namespace {
constexpr const char* kAdvice =
    "; correct it, or take the file from where the model's weights are from";
constexpr JsonLimits kLimits = {.bytes_max = std::size_t{4} << 20, .depth_max = 64, .python = true};
}  // namespace

Result<HfConfig> HfConfig::parse(std::string_view text, const std::string& what) {
  TROUPE_ASSIGN_OR_RETURN(json value, parse_json(text, what, kLimits));
  HfConfig config;
  config.what_ = what;
  if (!value.is_object()) return config.bad(std::string("is not a JSON object") + kAdvice);
  config.json_ = std::make_shared<const Json>(Json{std::move(value)});
  return config;
}

Status HfConfig::bad(const std::string& sentence) const {
  return Status(Code::kBadData, what_ + ": " + sentence);
}

Status HfConfig::wrong(std::string_view field, const std::string& expected) const {
  const json* value = json_->find_any(field);
  if (value == nullptr)
    return bad("the field \"" + std::string(field) + "\" is missing, expected " + expected +
               kAdvice);
  return bad("the field \"" + std::string(field) + "\" is " +
             in_quotes(value->dump(-1, ' ', false, json::error_handler_t::replace)) +
             ", expected " + expected + kAdvice);
}

bool HfConfig::has(std::string_view field) const { return json_->find(field) != nullptr; }

Result<std::uint64_t> HfConfig::u64(std::string_view field) const {
  const json* value = json_->find(field);
  if (value == nullptr || !value->is_number_unsigned()) return wrong(field, "an integer from 0 on");
  return value->get<std::uint64_t>();
}
Result<std::uint64_t> HfConfig::u64(std::string_view field, std::uint64_t fallback) const {
  return has(field) ? u64(field) : Result<std::uint64_t>(fallback);
}

Result<double> HfConfig::f64(std::string_view field) const {
  const json* value = json_->find(field);
  if (value == nullptr || !value->is_number()) return wrong(field, "a number");
  return value->get<double>();
}
Result<double> HfConfig::f64(std::string_view field, double fallback) const {
  return has(field) ? f64(field) : Result<double>(fallback);
}

Result<std::uint64_t> HfConfig::size(std::string_view field, std::uint64_t most) const {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t value, u64(field));
  if (value >= 1 && value <= most) return value;
  return wrong(field, "an integer from 1 to " + std::to_string(most));
}

Result<double> HfConfig::number(std::string_view field, double fallback, double least,
                                double most) const {
  const json* value = json_->find_any(field);
  if (value == nullptr) return fallback;
  if (value->is_number() && value->get<double>() >= least && value->get<double>() <= most)
    return value->get<double>();
  std::ostringstream range;
  range << "a number from " << least << " to " << most;
  return wrong(field, range.str());
}

bool HfConfig::differ(std::string_view field, std::string_view other) const {
  const json *one = json_->find(field), *two = json_->find(other);
  return one != nullptr && two != nullptr && *one != *two;
}

Result<std::string> HfConfig::string(std::string_view field) const {
  const json* value = json_->find(field);
  if (value == nullptr || !value->is_string()) return wrong(field, "a text");
  return value->get<std::string>();
}
Result<std::string> HfConfig::string(std::string_view field, std::string_view fallback) const {
  return has(field) ? string(field) : Result<std::string>(std::string(fallback));
}

Result<bool> HfConfig::boolean(std::string_view field, bool fallback) const {
  const json* value = json_->find(field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return wrong(field, "true or false");
  return value->get<bool>();
}

Result<std::vector<std::int64_t>> HfConfig::integers(std::string_view field) const {
  constexpr std::size_t kMax = 64;
  std::vector<std::int64_t> values;
  const json* found = json_->find(field);
  if (found == nullptr) return values;
  const json list = found->is_array() ? *found : json::array({*found});
  for (const json& value : list) {
    if (!value.is_number_integer() || values.size() == kMax)
      return wrong(field, "an integer or a list of at most 64");
    values.push_back(value.get<std::int64_t>());
  }
  return values;
}

Result<HfConfig> HfConfig::inner(std::string_view field) const {
  const json* found = json_->find(field);
  if (found == nullptr || !found->is_object()) return wrong(field, "an object");
  HfConfig out;
  out.what_ = what_;
  out.json_ = std::make_shared<const Json>(Json{*found});
  return out;
}

HfConfig HfConfig::with_defaults(
    std::initializer_list<std::pair<std::string_view, std::uint64_t>> values) const {
  Json filled{json_->value};
  for (const auto& [field, value] : values)
    if (!has(field)) filled.value[std::string(field)] = value;
  HfConfig out;
  out.what_ = what_;
  out.json_ = std::make_shared<const Json>(std::move(filled));
  return out;
}

Result<std::vector<std::string>> HfConfig::strings(std::string_view field) const {
  std::vector<std::string> values;
  const json* list = json_->find(field);
  if (list == nullptr) return values;
  if (!list->is_array()) return wrong(field, "a list of texts");
  for (const json& value : *list) {
    if (!value.is_string()) return wrong(field, "a list of texts");
    values.push_back(value.get<std::string>());
  }
  return values;
}

std::vector<std::string> HfConfig::fields_of(std::string_view field) const {
  std::vector<std::string> names;
  const json* object = json_->find(field);
  if (object == nullptr || !object->is_object()) return names;
  for (const auto& [name, value] : object->items()) names.push_back(name);
  return names;
}

Result<std::vector<double>> HfConfig::numbers(std::string_view field) const {
  std::vector<double> values;
  const json* list = json_->find(field);
  if (list == nullptr) return values;
  if (!list->is_array()) return wrong(field, "a list of numbers");
  for (const json& value : *list) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      return wrong(field, "a list of numbers");
    values.push_back(value.get<double>());
  }
  return values;
}

Status HfConfig::expect(std::string_view field,
                        std::initializer_list<std::string_view> values) const {
  TROUPE_ASSIGN_OR_RETURN(const std::string value, string(field, *values.begin()));
  std::string known;
  for (const std::string_view one : values) {
    if (value == one) return Status::ok();
    known += (known.empty() ? "" : ", ") + std::string(one);
  }
  return bad("the field \"" + std::string(field) + "\" is " + in_quotes(value) +
             "; this version can run " + known);
}

}  // namespace troupe::model
