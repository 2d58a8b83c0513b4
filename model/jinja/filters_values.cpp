#include <algorithm>
#include <charconv>
#include <cmath>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>

// Filters of numbers, of dicts and of anything.

namespace troupe::model::jinja {
namespace {

Result<Value> fall_back(const Use& use) {
  const bool replaced = use.input.is_undefined() || (use.flag(1, "boolean") && !truth(use.input));
  if (!replaced) return use.input;
  const Value* fallback = use.get(0, "default_value");
  return fallback != nullptr ? *fallback : Value(std::string());
}

Result<Value> length(const Use& use) {
  const Value& input = use.input;
  if (input.string() != nullptr) return Value(character_index(*input.string(), std::string::npos));
  if (input.list() != nullptr) return Value(static_cast<std::int64_t>(input.list()->size()));
  if (input.dict() != nullptr) return Value(static_cast<std::int64_t>(input.dict()->size()));
  if (input.is_undefined()) return Value(std::int64_t{0});
  return wrong_type(use.line, "counting", input);
}

// Prints JSON as transformers does: json.dumps with its defaults, but without \u escapes.
Result<Value> to_json_text(const Use& use) {
  JsonStyle style;
  if (const Value* given = use.get(1, "indent"); given != nullptr && given->integer() != nullptr) {
    style.indent = std::clamp<std::int64_t>(*given->integer(), 0, 64);
    style.item_separator = ",";
  }
  if (const Value* given = use.get(2, "separators"); given != nullptr && !given->is_none()) {
    const List* pair = given->list();
    if (pair == nullptr || pair->size() != 2 || (*pair)[0].string() == nullptr ||
        (*pair)[1].string() == nullptr) {
      return template_error(use.line, "the separators of 'tojson' must be two strings");
    }
    style.item_separator = *(*pair)[0].string();
    style.key_separator = *(*pair)[1].string();
  }
  style.sort_keys = use.flag(3, "sort_keys");
  style.ascii = use.flag(0, "ensure_ascii");
  Result<std::string> json = to_json(use.input, style, Budget::kTextBytesMax);
  if (!json.is_ok()) return template_error(use.line, json.message(), json.code());
  return counted(use.budget, use.line, std::move(*json));
}

Result<Value> items(const Use& use) {
  if (use.input.is_undefined()) return Value(List{});
  if (use.input.dict() == nullptr) return wrong_type(use.line, "taking items", use.input);
  return dict_items(*use.input.dict());
}

Result<Value> sort_dict(const Use& use) {
  if (use.input.dict() == nullptr) return wrong_type(use.line, "sorting by keys", use.input);
  const Value pairs = dict_items(*use.input.dict());
  const Value* by = use.get(1, "by");
  const bool by_value = by != nullptr && by->string() != nullptr && *by->string() == "value";
  const Value place(std::int64_t{by_value});
  return sorted(use.budget, use.line, *pairs.list(),
                {&place, use.flag(2, "reverse"), use.flag(0, "case_sensitive")});
}

Result<Value> attribute(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string name,
                          string_argument(use.line, use.arguments, 0, "name"));
  return subscript(use.budget, use.line, use.input, Value(name));
}

Result<Value> absolute(const Use& use) {
  std::int64_t integer = 0;
  if (use.input.real() != nullptr) return Value(std::fabs(*use.input.real()));
  if (!to_integer(use.input, &integer) || integer == INT64_MIN) {
    return wrong_type(use.line, "the filter 'abs'", use.input);
  }
  return Value(integer < 0 ? -integer : integer);
}

// Reads a text or number as a number; returns false if it is none.
bool read_number(const Value& input, double* number) {
  if (input.string() == nullptr) return to_number(input, number);
  const std::string text = strip(*input.string(), nullptr, Side::kBoth);
  const char* const begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, *number);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

Result<Value> to_real(const Use& use) {
  double number = 0;
  if (read_number(use.input, &number)) return Value(number);
  const Value* fallback = use.get(0, "default");
  return fallback != nullptr ? *fallback : Value(0.0);
}

Result<Value> to_whole(const Use& use) {
  std::int64_t integer = 0;
  if (to_integer(use.input, &integer)) return Value(integer);
  if (use.input.string() != nullptr) {
    const std::string text = strip(*use.input.string(), nullptr, Side::kBoth);
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), integer);
    if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) return Value(integer);
  }
  double number = 0;
  if (read_number(use.input, &number) && std::fabs(number) < 9e18) {
    return Value(static_cast<std::int64_t>(number));
  }
  const Value* fallback = use.get(0, "default");
  return fallback != nullptr ? *fallback : Value(std::int64_t{0});
}

Result<Value> round_number(const Use& use) {
  double number = 0;
  if (!to_number(use.input, &number)) return wrong_type(use.line, "rounding", use.input);
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t digits,
                          integer_argument(use.line, use.arguments, 0, "precision", 0));
  std::string method = "common";
  if (const Value* given = use.get(1, "method")) {
    TROUPE_ASSIGN_OR_RETURN(method, text_of(use.line, *given));
  }
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<std::int64_t>(digits, 0, 15)));
  if (method == "ceil") return Value(std::ceil(number * scale) / scale);
  if (method == "floor") return Value(std::floor(number * scale) / scale);
  if (method == "common") return Value(std::nearbyint(number * scale) / scale);
  return template_error(use.line, "'round' knows the methods 'common', 'ceil' and 'floor'");
}

constexpr Row kFilters[] = {
    {"default", "default_value boolean", fall_back},
    {"d", "default_value boolean", fall_back},
    {"length", "", length},
    {"count", "", length},
    {"tojson", "ensure_ascii indent separators sort_keys", to_json_text},
    {"items", "", items},
    {"dictsort", "case_sensitive by reverse", sort_dict},
    {"attr", "name", attribute},
    {"abs", "", absolute},
    {"int", "default", to_whole},
    {"float", "default", to_real},
    {"round", "precision method", round_number},
};

}  // namespace

std::span<const Row> value_filters() { return kFilters; }

}  // namespace troupe::model::jinja
