#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/ascii.h>

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
  const auto number = [](std::size_t size) { return Value(static_cast<std::int64_t>(size)); };
  if (input.string() != nullptr) return Value(character_index(*input.string(), std::string::npos));
  if (input.list() != nullptr) return number(input.list()->size());
  if (input.dict() != nullptr) return number(input.dict()->size());
  if (input.range() != nullptr) return Value(input.range()->size());
  if (input.is(Object::Kind::kLoop)) return number(input.object()->items.size());
  if (input.is_undefined()) return Value(std::int64_t{0});
  return wrong_type(use.line, "counting", input);
}

// Prints JSON as transformers does: json.dumps with its defaults, but without \u escapes.
Result<Value> to_json_text(const Use& use) {
  JsonStyle style;
  const Value* indent = use.get(1, "indent");
  std::int64_t width = 0;
  if (indent != nullptr && !indent->is_none()) {
    style.lines = true;
    style.item_separator = ",";
    if (indent->string() != nullptr) {
      style.indent = *indent->string();
    } else if (to_integer(*indent, &width)) {
      style.indent =
          std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(width, 0, 64)), ' ');
    } else {
      return wrong_type(use.line, "the argument 'indent'", *indent);
    }
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
  if (use.input.is_undefined()) return iterator_of({});
  if (use.input.dict() == nullptr) {
    return iterator_of({}, "generator", wrong_type(use.line, "taking items", use.input));
  }
  return iterator_of(dict_items(*use.input.dict()));
}

Result<Value> sort_dict(const Use& use) {
  if (use.input.dict() == nullptr) return wrong_type(use.line, "sorting by keys", use.input);
  std::string by = "key";
  if (const Value* given = use.get(1, "by")) {
    TROUPE_ASSIGN_OR_RETURN(by, text_of(use.line, *given));
  }
  if (by != "key" && by != "value") {
    return template_error(use.line, "'dictsort' sorts by 'key' or 'value'");
  }
  const Value place(std::int64_t{by == "value"});
  return sorted(use.budget, use.line, dict_items(*use.input.dict()),
                {&place, use.flag(2, "reverse"), use.flag(0, "case_sensitive")});
}

Result<Value> attribute(const Use& use) {
  const Value* name = use.get(0, "name");
  if (name == nullptr || name->string() == nullptr) return Value();
  return method_or_attribute(use.budget, use.line, use.input, *name->string());
}

Result<Value> absolute(const Use& use) {
  if (use.input.real() != nullptr) return Value(std::fabs(*use.input.real()));
  const auto whole = whole_of(use.input);
  if (!whole) return wrong_type(use.line, "the filter 'abs'", use.input);
  return Value(whole->is_negative() ? -*whole : *whole);
}

// Removes the underscores between the digits of a number; returns false if one is elsewhere.
bool without_underscores(std::string* text) {
  for (std::size_t i = 0; i < text->size(); ++i) {
    if ((*text)[i] != '_') continue;
    const bool between = i > 0 && i + 1 < text->size() && is_alphanumeric((*text)[i - 1]) &&
                         is_alphanumeric((*text)[i + 1]);
    if (!between) return false;
  }
  std::erase(*text, '_');
  return true;
}

// Reads a text or number as a number, as Python's float() does; returns false if it cannot.
bool read_number(const Value& input, double* number) {
  if (input.string() == nullptr) return to_number(input, number);
  std::string text = lower(strip(*input.string(), nullptr, Side::kBoth));
  if (!without_underscores(&text)) return false;
  const bool is_signed = text.starts_with('+') || text.starts_with('-');
  const double sign = text.starts_with('-') ? -1.0 : 1.0;
  if (is_signed) text.erase(0, 1);
  if (text == "inf" || text == "infinity" || text == "nan") {
    *number = text == "nan" ? std::nan("") : sign * HUGE_VAL;
    return true;
  }
  if (text.empty() || !(text[0] == '.' || (text[0] >= '0' && text[0] <= '9'))) return false;
  if (text.find('x') != std::string::npos) return false;
  char* end = nullptr;
  *number = sign * std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size();
}

// Reads a whole number as Python's int(text, base) does.
std::optional<BigInteger> read_whole(const std::string& input, std::int64_t base) {
  std::string text = lower(strip(input, nullptr, Side::kBoth));
  const std::string sign = text.starts_with('-') ? "-" : "";
  if (text.starts_with('-') || text.starts_with('+')) text.erase(0, 1);
  for (const auto& [prefix, of] : {std::pair("0x", 16), std::pair("0o", 8), std::pair("0b", 2)}) {
    if (!text.starts_with(prefix) || (base != of && base != 0)) continue;
    base = of;
    text.erase(0, 2);
    if (text.starts_with('_')) text.erase(0, 1);
    break;
  }
  if (base == 0) {
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != text.npos) {
      return std::nullopt;
    }
    base = 10;
  }
  if (!without_underscores(&text) || text.starts_with('+') || text.starts_with('-')) {
    return std::nullopt;
  }
  return BigInteger::parse(sign + text, static_cast<int>(base));
}

Result<Value> to_real(const Use& use) {
  double number = 0;
  if (use.input.is_undefined()) return wrong_type(use.line, "making a number", use.input);
  if (read_number(use.input, &number)) {
    const bool lost = use.input.big() != nullptr && std::isinf(number);
    if (!lost) return Value(number);
    return template_error(use.line, "a number is too large");
  }
  const Value* fallback = use.get(0, "default");
  return fallback != nullptr ? *fallback : Value(0.0);
}

Result<Value> to_whole(const Use& use) {
  const Value* given = use.get(0, "default");
  const Value fallback = given != nullptr ? *given : Value(std::int64_t{0});
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t base,
                          integer_argument(use.line, use.arguments, 1, "base", 10));
  if (use.input.is_undefined()) return wrong_type(use.line, "making a number", use.input);
  if (const auto whole = whole_of(use.input)) return Value(*whole);
  if (use.input.string() != nullptr) {
    const bool known = base == 0 || (base >= 2 && base <= 36);
    const auto whole = known ? read_whole(*use.input.string(), base) : std::nullopt;
    if (whole) return Value(*whole);
  }
  double number = 0;
  if (!read_number(use.input, &number) || std::isnan(number)) return fallback;
  if (std::isfinite(number)) return Value(BigInteger::from_double(number));
  if (use.input.string() != nullptr) return fallback;
  return template_error(use.line, "infinity is not a whole number");
}

// Rounds a whole number to a power of ten, halves to even.
Value rounded_whole(const BigInteger& value, std::int64_t digits) {
  if (digits >= 0) return Value(value);
  BigInteger unit(1);
  for (std::int64_t i = std::max<std::int64_t>(digits, -400); i < 0; ++i) {
    unit = unit * BigInteger(10);
  }
  auto [quotient, rest] = BigInteger::divide(value, unit);
  const int half = BigInteger::compare(rest + rest, unit);
  if (half > 0 || (half == 0 && quotient.is_odd())) quotient = quotient + BigInteger(1);
  return Value(quotient * unit);
}

// Rounds to decimal digits by the exact value of the number, halves to even, as Python does.
double rounded(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / unit) * unit;
  }
  std::vector<char> text(400 + static_cast<std::size_t>(digits));
  std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(digits), value);
  return std::strtod(text.data(), nullptr);
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
  if (method == "common") {
    if (const auto whole = whole_of(use.input)) return rounded_whole(*whole, digits);
    return Value(rounded(number, digits));
  }
  if (method != "ceil" && method != "floor") {
    return template_error(use.line, "'round' knows the methods 'common', 'ceil' and 'floor'");
  }
  const double scale =
      std::pow(10.0, static_cast<double>(std::clamp<std::int64_t>(digits, -300, 300)));
  const double scaled = number * scale;
  if (!std::isfinite(scaled)) return wrong_type(use.line, "rounding", use.input);
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

constexpr Row kValueFilters[] = {
    {"default", "default_value boolean", fall_back},
    {"d", "default_value boolean", fall_back},
    {"length", "", length},
    {"count", "", length},
    {"tojson", "ensure_ascii indent separators sort_keys", to_json_text},
    {"items", "", items},
    {"dictsort", "case_sensitive by reverse", sort_dict},
    {"attr", "name", attribute},
    {"abs", "", absolute},
    {"int", "default base", to_whole},
    {"float", "default", to_real},
    {"round", "precision method", round_number},
};

}  // namespace

std::span<const Row> value_filters() { return kValueFilters; }

}  // namespace troupe::model::jinja
