#include <algorithm>
#include <charconv>
#include <cmath>

#include <troupe/model/jinja_builtin_parts.h>
#include <troupe/model/jinja_lexer.h>
#include <troupe/model/jinja_text.h>
#include <troupe/model/utf8.h>

// Filters of texts and numbers, and the way to all filters.

namespace troupe::model::jinja {
namespace {

Result<std::string> indent(int line, std::string_view text, const Arguments& arguments) {
  std::string margin(4, ' ');
  if (const Value* width = arguments.get(0, "width")) {
    if (width->string() != nullptr) {
      margin = *width->string();
    } else {
      TROUPE_ASSIGN_OR_RETURN(const std::int64_t columns,
                              integer_argument(line, arguments, 0, "width", 4));
      margin =
          std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(columns, 0, 1000)), ' ');
    }
  }
  const Value* first = arguments.get(1, "first");
  const Value* blank = arguments.get(2, "blank");
  std::string out;
  bool begins = true, first_line = true;
  for (const char c : text) {
    const bool wanted = !first_line || (first != nullptr && truth(*first));
    if (begins && wanted && (c != '\n' || (blank != nullptr && truth(*blank)))) out += margin;
    out += c;
    begins = c == '\n';
    if (begins) first_line = false;
  }
  return out;
}

Result<std::optional<Value>> text_filter(Budget* budget, int line, const std::string& name,
                                         const Value& input, const Arguments& arguments) {
  static constexpr std::string_view kNames[] = {"trim",       "upper",   "lower",  "title",
                                                "capitalize", "replace", "string", "safe",
                                                "e",          "escape",  "indent"};
  if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
    return std::optional<Value>();
  }
  TROUPE_ASSIGN_OR_RETURN(std::string text, text_of(line, input));
  if (name == "trim") {
    const Value* set = arguments.get(0, "chars");
    text = strip(text, set == nullptr ? nullptr : set->string(), Side::kBoth);
  } else if (name == "upper") {
    text = upper(text);
  } else if (name == "lower") {
    text = lower(text);
  } else if (name == "title") {
    text = title(text, /*filter=*/true);
  } else if (name == "capitalize") {
    text = capitalize(text);
  } else if (name == "e" || name == "escape") {
    text = escape_html(text);
  } else if (name == "indent") {
    TROUPE_ASSIGN_OR_RETURN(text, indent(line, text, arguments));
  } else if (name == "replace") {
    TROUPE_ASSIGN_OR_RETURN(const std::string from, string_argument(line, arguments, 0, "old"));
    TROUPE_ASSIGN_OR_RETURN(const std::string to, string_argument(line, arguments, 1, "new"));
    TROUPE_ASSIGN_OR_RETURN(const std::int64_t count,
                            integer_argument(line, arguments, 2, "count", -1));
    TROUPE_RETURN_IF_ERROR(take_search(budget, line, text, from));
    const std::size_t most = from.empty() ? text.size() + 1 : text.size() / from.size();
    TROUPE_RETURN_IF_ERROR(budget->take(line, text.size() + most * to.size()));
    text = replace(text, from, to, count);
  }
  TROUPE_ASSIGN_OR_RETURN(Value value, counted(budget, line, std::move(text)));
  return std::optional<Value>(std::move(value));
}

std::optional<Value> number_filter(const std::string& name, const Value& input,
                                   const Arguments& arguments) {
  double number = 0;
  const bool is_number = to_number(input, &number);
  if (name == "abs" && is_number) {
    return input.integer() != nullptr ? Value(std::abs(*input.integer()))
                                      : Value(std::fabs(number));
  }
  if (name != "int" && name != "float") return std::nullopt;
  bool known = is_number;
  if (input.string() != nullptr) {
    const std::string text = strip(*input.string(), nullptr, Side::kBoth);
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    known = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty();
  }
  const Value* fallback = arguments.get(0, "default");
  if (name == "float") {
    if (known) return Value(number);
    return fallback != nullptr ? *fallback : Value(0.0);
  }
  if (input.integer() != nullptr) return input;
  if (known && std::fabs(number) < 9e18) return Value(static_cast<std::int64_t>(number));
  return fallback != nullptr ? *fallback : Value(std::int64_t{0});
}

}  // namespace

Result<Value> apply_filter(Budget* budget, int line, const std::string& name, const Value& input,
                           const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, input.weight()));
  if (name == "default" || name == "d") {
    const Value* also_false = arguments.get(1, "boolean");
    const bool replaced =
        input.is_undefined() || (also_false != nullptr && truth(*also_false) && !truth(input));
    const Value* fallback = arguments.get(0, "default_value");
    if (!replaced) return input;
    return fallback != nullptr ? *fallback : Value(std::string());
  }
  if (name == "length" || name == "count") {
    if (input.string() != nullptr)
      return Value(character_index(*input.string(), std::string::npos));
    if (input.list() != nullptr) return Value(static_cast<std::int64_t>(input.list()->size()));
    if (input.dict() != nullptr) return Value(static_cast<std::int64_t>(input.dict()->size()));
    if (input.is_undefined()) return Value(std::int64_t{0});
    return wrong_type(line, "counting", input);
  }
  if (name == "tojson") {
    const Value* given = arguments.get(0, "indent");
    std::int64_t indent = given != nullptr && given->integer() != nullptr ? *given->integer() : -1;
    indent = std::min<std::int64_t>(indent, 64);
    Result<std::string> json = to_json(input, indent, Budget::kTextBytesMax);
    if (!json.is_ok()) return template_error(line, json.message(), json.code());
    return counted(budget, line, std::move(*json));
  }
  if (name == "items" && input.dict() != nullptr) return dict_items(*input.dict());
  if (name == "dictsort" && input.dict() != nullptr) {
    const Value items = dict_items(*input.dict());
    Arguments by_key;
    by_key.keywords.emplace_back("attribute", Value(std::string("0")));
    return filter_sort(budget, line, *items.list(), by_key);
  }
  TROUPE_ASSIGN_OR_RETURN(std::optional<Value> value,
                          text_filter(budget, line, name, input, arguments));
  if (value.has_value()) return std::move(*value);
  TROUPE_ASSIGN_OR_RETURN(value, items_filter(budget, line, name, input, arguments));
  if (value.has_value()) return std::move(*value);
  value = number_filter(name, input, arguments);
  if (value.has_value()) return std::move(*value);
  return template_error(line, "the filter " + in_quotes(name) +
                                  " is not known for a value of type " +
                                  std::string(type_name(input)));
}

}  // namespace troupe::model::jinja
