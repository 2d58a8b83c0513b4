#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include <utf8proc.h>

#include <troupe/model/jinja_builtins.h>
#include <troupe/model/jinja_lexer.h>
#include <troupe/model/utf8.h>

// Longer than 500 lines: a table of filters, tests and methods, one short function each.
namespace troupe::model::jinja {
namespace {

Status wrong_type(int line, const std::string& doing, const Value& value) {
  return template_error(
      line, doing + " cannot be done with a value of type " + std::string(type_name(value)));
}

bool is_white_space(std::string_view character) {
  const Utf8Char decoded = utf8_char(character);
  if (decoded.state != Utf8State::kWhole) return false;
  const char32_t c = decoded.code_point;
  if ((c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool is_letter(std::string_view character) {
  const Utf8Char decoded = utf8_char(character);
  if (decoded.state != Utf8State::kWhole) return false;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(decoded.code_point));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

template <class Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    if (next.state != Utf8State::kWhole) {
      out += text.substr(0, next.bytes);
    } else {
      append_utf8(map(next.code_point), &out);
    }
    text.remove_prefix(next.bytes);
  }
  return out;
}
std::string upper(std::string_view text) {
  return map_characters(text, [](char32_t c) -> char32_t {
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
  });
}
std::string lower(std::string_view text) {
  return map_characters(text, [](char32_t c) -> char32_t {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  });
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t first = utf8_char(text).bytes;
  return upper(text.substr(0, first)) + lower(text.substr(first));
}

// Words begin after any character that is no letter (the method), or after white space, '-' and
// opening brackets only (the filter).
std::string title(std::string_view text, bool filter) {
  std::string out;
  bool begins = true;
  for (const std::string_view character : characters(text)) {
    out += begins ? upper(character) : lower(character);
    begins = filter ? is_white_space(character) ||
                          std::string_view("-([{<").find(character) != std::string_view::npos
                    : !is_letter(character);
  }
  return out;
}

enum class Side : std::uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };

// The last character of `text`, which must not be empty.
std::string_view last_character(std::string_view text) {
  for (std::size_t bytes = std::min<std::size_t>(4, text.size()); bytes > 1; --bytes) {
    const std::string_view end = text.substr(text.size() - bytes);
    const Utf8Char found = utf8_char(end);
    if (found.state == Utf8State::kWhole && found.bytes == bytes) return end;
  }
  return text.substr(text.size() - 1);
}

// Without `set`, white space.
std::string strip(std::string_view text, const std::string* set, Side side) {
  const std::vector<std::string_view> strip_set =
      set == nullptr ? std::vector<std::string_view>() : characters(*set);
  const auto goes = [&](std::string_view character) {
    if (set == nullptr) return is_white_space(character);
    return std::find(strip_set.begin(), strip_set.end(), character) != strip_set.end();
  };
  while (side != Side::kRight && !text.empty()) {
    const std::size_t bytes = utf8_char(text).bytes;
    if (!goes(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  while (side != Side::kLeft && !text.empty()) {
    const std::string_view character = last_character(text);
    if (!goes(character)) break;
    text.remove_suffix(character.size());
  }
  return std::string(text);
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count) {
  std::string out;
  if (from.empty()) {  // Python puts `to` before every character and at the end
    for (const std::string_view character : characters(text)) {
      if (count != 0) out += to;
      if (count > 0) --count;
      out += character;
    }
    if (count != 0) out += to;
    return out;
  }
  std::size_t at = 0;
  while (count != 0) {
    const std::size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    (out += text.substr(at, found - at)) += to;
    at = found + from.size();
    if (count > 0) --count;
  }
  return out += text.substr(at);
}

List split_at_white_space(std::string_view text, std::int64_t limit) {
  List parts;
  const std::vector<std::string_view> chars = characters(text);
  std::size_t i = 0;
  for (;;) {
    while (i < chars.size() && is_white_space(chars[i])) ++i;
    if (i == chars.size()) return parts;
    const char* begin = chars[i].data();
    if (limit == 0) {  // the rest as it stands
      parts.emplace_back(std::string(begin, text.data() + text.size()));
      return parts;
    }
    while (i < chars.size() && !is_white_space(chars[i])) ++i;
    const char* end = i < chars.size() ? chars[i].data() : text.data() + text.size();
    parts.emplace_back(std::string(begin, end));
    if (limit > 0) --limit;
  }
}

List split_at(std::string_view text, std::string_view separator, std::int64_t limit) {
  List parts;
  while (limit != 0) {
    const std::size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(std::string(text.substr(0, found)));
    text.remove_prefix(found + separator.size());
    if (limit > 0) --limit;
  }
  parts.emplace_back(std::string(text));
  return parts;
}

List split_from_right(std::string_view text, std::string_view separator, std::int64_t limit) {
  List parts;
  while (limit != 0) {
    const std::size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(std::string(text.substr(found + separator.size())));
    text = text.substr(0, found);
    if (limit > 0) --limit;
  }
  parts.emplace_back(std::string(text));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

List split_lines(std::string_view text) {
  List lines;
  while (!text.empty()) {
    std::size_t end = text.find_first_of("\n\r");
    lines.emplace_back(std::string(text.substr(0, end)));
    if (end == std::string_view::npos) break;
    if (text.substr(end).starts_with("\r\n")) ++end;
    text.remove_prefix(end + 1);
  }
  return lines;
}

Result<std::int64_t> integer_argument(int line, const Arguments& arguments, std::size_t index,
                                      std::string_view name, std::int64_t fallback) {
  const Value* value = arguments.get(index, name);
  if (value == nullptr) return fallback;
  if (value->boolean() != nullptr) return std::int64_t{*value->boolean()};
  if (value->integer() == nullptr) {
    return wrong_type(line, "counting with the argument " + in_quotes(name), *value);
  }
  return *value->integer();
}

Result<std::string> string_argument(int line, const Arguments& arguments, std::size_t index,
                                    std::string_view name) {
  const Value* value = arguments.get(index, name);
  if (value == nullptr || value->string() == nullptr) {
    return template_error(line, "the argument " + in_quotes(name) + " must be a string");
  }
  return *value->string();
}

Result<Value> counted(Budget* budget, int line, std::string text) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, text.size()));
  return Value(std::move(text));
}
Result<Value> counted(Budget* budget, int line, List list) {
  std::size_t bytes = list.size() * sizeof(Value);
  for (const Value& item : list) {
    if (item.string() != nullptr) bytes += item.string()->size();
  }
  TROUPE_RETURN_IF_ERROR(budget->take(line, bytes));
  return Value(std::move(list));
}

// Looking for `part` in `text` takes, at worst, the product of their lengths.
Status take_search(Budget* budget, int line, std::string_view text, std::string_view part) {
  return budget->work(line, text.size() + text.size() * part.size() / 128);
}

// item.a.b
Result<Value> path_of(Budget* budget, int line, const Value& item, const std::string& path) {
  Value value = item;
  for (const Value& part : split_at(path, ".", -1)) {
    TROUPE_ASSIGN_OR_RETURN(value, subscript(budget, line, value, part));
  }
  return value;
}

Result<Value> join(Budget* budget, int line, const List& items, const std::string& separator) {
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line, items[i]));
    TROUPE_RETURN_IF_ERROR(budget->take(line, text.size() + separator.size()));
    if (i > 0) out += separator;
    out += text;
  }
  return Value(std::move(out));
}

Result<bool> less(int line, const Value& a, const Value& b) {
  double x = 0, y = 0;
  if (to_number(a, &x) && to_number(b, &y)) return x < y;
  if (a.string() != nullptr && b.string() != nullptr) return *a.string() < *b.string();
  return template_error(line, "values of the types " + std::string(type_name(a)) + " and " +
                                  std::string(type_name(b)) + " cannot be ordered");
}

// --- filters that go through items ---

Result<Value> filter_map(Budget* budget, int line, const List& items, const Arguments& arguments) {
  List out;
  const Value* attribute = arguments.positional.empty() ? arguments.get(9, "attribute") : nullptr;
  if (attribute != nullptr && attribute->string() != nullptr) {
    const Value* fallback = arguments.get(9, "default");
    for (const Value& item : items) {
      TROUPE_ASSIGN_OR_RETURN(Value value, path_of(budget, line, item, *attribute->string()));
      out.push_back(value.is_undefined() && fallback != nullptr ? *fallback : std::move(value));
    }
  } else {
    TROUPE_ASSIGN_OR_RETURN(const std::string name, string_argument(line, arguments, 0, "filter"));
    Arguments rest = arguments;
    rest.positional.erase(rest.positional.begin());
    for (const Value& item : items) {
      TROUPE_ASSIGN_OR_RETURN(Value value, apply_filter(budget, line, name, item, rest));
      out.push_back(std::move(value));
    }
  }
  return counted(budget, line, std::move(out));
}

// select, reject: (test, arguments...); selectattr, rejectattr: (attribute, test, arguments...)
Result<Value> filter_select(Budget* budget, int line, const std::string& name, const List& items,
                            const Arguments& arguments) {
  const bool by_attribute = name.ends_with("attr");
  const bool keep = name.starts_with("select");
  Arguments rest = arguments;
  std::string attribute, test;
  if (by_attribute) {
    TROUPE_ASSIGN_OR_RETURN(attribute, string_argument(line, rest, 0, "attribute"));
    rest.positional.erase(rest.positional.begin());
  }
  if (!rest.positional.empty()) {
    TROUPE_ASSIGN_OR_RETURN(test, string_argument(line, rest, 0, "test"));
    rest.positional.erase(rest.positional.begin());
  }
  List out;
  for (const Value& item : items) {
    TROUPE_RETURN_IF_ERROR(budget->step(line));
    Value subject = item;
    if (by_attribute) {
      TROUPE_ASSIGN_OR_RETURN(subject, path_of(budget, line, item, attribute));
    }
    bool holds = truth(subject);
    if (!test.empty()) {
      TROUPE_ASSIGN_OR_RETURN(holds, apply_test(budget, line, test, subject, rest));
    }
    if (holds == keep) out.push_back(item);
  }
  return counted(budget, line, std::move(out));
}

Result<Value> filter_sort(Budget* budget, int line, List items, const Arguments& arguments) {
  const Value* reverse = arguments.get(0, "reverse");
  const Value* attribute = arguments.get(9, "attribute");
  std::vector<std::pair<Value, Value>> keyed;  // key, item
  for (Value& item : items) {
    Value key = item;
    if (attribute != nullptr && attribute->string() != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(key, path_of(budget, line, item, *attribute->string()));
    }
    TROUPE_RETURN_IF_ERROR(budget->take(line, 16 * key.weight()));   // it is compared some times
    if (key.string() != nullptr) key = Value(lower(*key.string()));  // case does not count
    keyed.emplace_back(std::move(key), std::move(item));
  }
  TROUPE_RETURN_IF_ERROR(budget->step(line, keyed.size() * 20));
  Status status;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const Result<bool> before = less(line, a.first, b.first);
    if (!before.is_ok()) status = before.status();
    return before.is_ok() && *before;
  });
  TROUPE_RETURN_IF_ERROR(status);
  List out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  if (reverse != nullptr && truth(*reverse)) std::reverse(out.begin(), out.end());
  return counted(budget, line, std::move(out));
}

Result<Value> filter_unique(Budget* budget, int line, const List& items) {
  List out;
  for (const Value& item : items) {
    for (const Value& one : out) {
      TROUPE_RETURN_IF_ERROR(budget->take(line, std::min(one.weight(), item.weight())));
    }
    const bool seen =
        std::any_of(out.begin(), out.end(), [&](const Value& one) { return equal(one, item); });
    if (!seen) out.push_back(item);
  }
  return counted(budget, line, std::move(out));
}

Result<Value> filter_extreme(int line, const List& items, bool largest) {
  if (items.empty()) return Value();
  const Value* best = &items[0];
  for (const Value& item : items) {
    TROUPE_ASSIGN_OR_RETURN(const bool before,
                            largest ? less(line, *best, item) : less(line, item, *best));
    if (before) best = &item;
  }
  return *best;
}

// nullopt: no filter of this kind has that name.
Result<std::optional<Value>> items_filter(Budget* budget, int line, const std::string& name,
                                          const Value& input, const Arguments& arguments) {
  static constexpr std::string_view kNames[] = {
      "list", "map",     "select", "reject", "selectattr", "rejectattr", "join", "first",
      "last", "reverse", "sort",   "unique", "max",        "min",        "sum"};
  if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
    return std::optional<Value>();
  }
  TROUPE_ASSIGN_OR_RETURN(List items, iterate(budget, line, input));
  const auto run = [&]() -> Result<Value> {
    if (name == "list") return Value(std::move(items));
    if (name == "map") return filter_map(budget, line, items, arguments);
    if (name == "first") return items.empty() ? Value() : items.front();
    if (name == "last") return items.empty() ? Value() : items.back();
    if (name == "sort") return filter_sort(budget, line, std::move(items), arguments);
    if (name == "unique") return filter_unique(budget, line, items);
    if (name == "max" || name == "min") return filter_extreme(line, items, name == "max");
    if (name == "reverse") {
      std::reverse(items.begin(), items.end());
      return input.string() != nullptr ? join(budget, line, items, "") : Value(std::move(items));
    }
    if (name == "join") {
      std::string separator;
      if (const Value* given = arguments.get(0, "d")) {
        TROUPE_ASSIGN_OR_RETURN(separator, text_of(line, *given));
      }
      if (const Value* attribute = arguments.get(1, "attribute")) {
        TROUPE_ASSIGN_OR_RETURN(const std::string path, text_of(line, *attribute));
        for (Value& item : items) {
          TROUPE_ASSIGN_OR_RETURN(item, path_of(budget, line, item, path));
        }
      }
      return join(budget, line, items, separator);
    }
    if (name == "sum") {
      Value sum(std::int64_t{0});
      for (const Value& item : items) {
        TROUPE_ASSIGN_OR_RETURN(sum, concatenate(budget, line, sum, item));
      }
      return sum;
    }
    return filter_select(budget, line, name, items, arguments);
  };
  TROUPE_ASSIGN_OR_RETURN(Value value, run());
  return std::optional<Value>(std::move(value));
}

// --- filters of texts ---

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

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

// --- methods ---

Result<bool> has_affix(int line, const std::string& text, const Value* affix, bool prefix) {
  const auto one = [&](const Value& value) {
    return value.string() != nullptr &&
           (prefix ? text.starts_with(*value.string()) : text.ends_with(*value.string()));
  };
  if (affix != nullptr && affix->string() != nullptr) return one(*affix);
  if (affix != nullptr && affix->list() != nullptr) {
    return std::any_of(affix->list()->begin(), affix->list()->end(), one);
  }
  return template_error(line, "startswith and endswith expect a string");
}

std::int64_t character_index(std::string_view text, std::size_t byte) {
  text = text.substr(0, byte);
  std::int64_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(utf8_char(text).bytes);
  return count;
}

Result<Value> string_method(Budget* budget, int line, const std::string& text,
                            const std::string& name, const Arguments& arguments) {
  const Value* first = arguments.get(0, "");
  const std::string* set = first == nullptr ? nullptr : first->string();
  if (name == "strip") return counted(budget, line, strip(text, set, Side::kBoth));
  if (name == "lstrip") return counted(budget, line, strip(text, set, Side::kLeft));
  if (name == "rstrip") return counted(budget, line, strip(text, set, Side::kRight));
  if (name == "upper") return counted(budget, line, upper(text));
  if (name == "lower") return counted(budget, line, lower(text));
  if (name == "title") return counted(budget, line, title(text, /*filter=*/false));
  if (name == "capitalize") return counted(budget, line, capitalize(text));
  if (name == "splitlines") return counted(budget, line, split_lines(text));
  if (name == "startswith" || name == "endswith") {
    TROUPE_ASSIGN_OR_RETURN(const bool has, has_affix(line, text, first, name == "startswith"));
    return Value(has);
  }
  if (name == "replace") {
    return apply_filter(budget, line, "replace", Value(text), arguments);
  }
  if (name == "split" || name == "rsplit") {
    TROUPE_ASSIGN_OR_RETURN(const std::int64_t limit,
                            integer_argument(line, arguments, 1, "maxsplit", -1));
    if (set != nullptr && set->empty())
      return template_error(line, "split with an empty separator");
    if (set == nullptr) return counted(budget, line, split_at_white_space(text, limit));
    TROUPE_RETURN_IF_ERROR(take_search(budget, line, text, *set));
    return counted(
        budget, line,
        name == "split" ? split_at(text, *set, limit) : split_from_right(text, *set, limit));
  }
  if (name == "join") {
    TROUPE_ASSIGN_OR_RETURN(const List items,
                            iterate(budget, line, first == nullptr ? Value() : *first));
    return join(budget, line, items, text);
  }
  if (name == "find" || name == "rfind" || name == "count") {
    TROUPE_ASSIGN_OR_RETURN(const std::string part, string_argument(line, arguments, 0, "sub"));
    TROUPE_RETURN_IF_ERROR(take_search(budget, line, text, part));
    if (name == "count") {
      if (part.empty()) return Value(character_index(text, text.size()) + 1);
      return Value(static_cast<std::int64_t>(split_at(text, part, -1).size()) - 1);
    }
    const std::size_t found = name == "find" ? text.find(part) : text.rfind(part);
    return Value(found == std::string::npos ? std::int64_t{-1} : character_index(text, found));
  }
  if (name == "isdigit") {
    return Value(!text.empty() && std::all_of(text.begin(), text.end(),
                                              [](char c) { return c >= '0' && c <= '9'; }));
  }
  return template_error(line, "strings have no method " + in_quotes(name));
}

Value dict_items(const Dict& dict) {
  List items;
  for (const auto& [key, value] : dict) items.emplace_back(List{Value(key), value});
  return Value(std::move(items));
}

Result<Value> dict_method(int line, const Dict& dict, const std::string& name,
                          const Arguments& arguments) {
  if (name == "items") return dict_items(dict);
  List out;
  if (name == "keys") {
    for (const auto& [key, value] : dict) out.emplace_back(key);
    return Value(std::move(out));
  }
  if (name == "values") {
    for (const auto& [key, value] : dict) out.push_back(value);
    return Value(std::move(out));
  }
  if (name == "get") {
    TROUPE_ASSIGN_OR_RETURN(const std::string key, string_argument(line, arguments, 0, "key"));
    if (const Value* found = find(dict, key)) return *found;
    const Value* fallback = arguments.get(1, "default");
    return fallback != nullptr ? *fallback : Value(None{});
  }
  return template_error(line, "dicts have no method " + in_quotes(name));
}

}  // namespace

Status Budget::step(int line, std::size_t count) {
  steps_ += count;
  if (steps_ <= kStepsMax) return Status::ok();
  return template_error(line,
                        "the rendering takes more than " + std::to_string(kStepsMax) + " steps",
                        Code::kResourceExhausted);
}

Status Budget::take(int line, std::size_t bytes) {
  if (bytes > kTextBytesMax) {
    return template_error(line,
                          "a value is larger than " + std::to_string(kTextBytesMax >> 20) + " MiB",
                          Code::kResourceExhausted);
  }
  return work(line, bytes);
}

Status Budget::work(int line, std::size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > kBytesMax) {
    return template_error(line,
                          "the rendering goes through more than " +
                              std::to_string(kBytesMax >> 20) + " MiB of values",
                          Code::kResourceExhausted);
  }
  return step(line);
}

const Value* Arguments::get(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  return name.empty() ? nullptr : find(keywords, name);
}

Result<std::string> text_of(int line, const Value& value) {
  Result<std::string> text = to_text(value, Budget::kTextBytesMax);
  return text.is_ok() ? std::move(text) : template_error(line, text.message(), text.code());
}

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

Result<bool> apply_test(Budget* budget, int line, const std::string& name, const Value& input,
                        const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  if (name == "defined") return !input.is_undefined();
  if (name == "undefined") return input.is_undefined();
  if (name == "none") return input.is_none();
  if (name == "string") return input.string() != nullptr;
  if (name == "boolean") return input.boolean() != nullptr;
  if (name == "integer") return input.integer() != nullptr;
  if (name == "float") return input.real() != nullptr;
  if (name == "mapping") return input.dict() != nullptr;
  if (name == "callable") return input.callable() != nullptr;
  if (name == "true") return input.boolean() != nullptr && *input.boolean();
  if (name == "false") return input.boolean() != nullptr && !*input.boolean();
  double number = 0;
  if (name == "number") return to_number(input, &number);
  if (name == "iterable" || name == "sequence") {
    return input.string() != nullptr || input.list() != nullptr || input.dict() != nullptr ||
           input.is_undefined();
  }
  if (name == "odd" || name == "even") {
    if (input.integer() == nullptr) return wrong_type(line, "the test " + in_quotes(name), input);
    return (*input.integer() % 2 != 0) == (name == "odd");
  }
  if (name == "lower" || name == "upper") {
    TROUPE_RETURN_IF_ERROR(budget->take(line, input.weight()));
    TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line, input));
    const bool cased = lower(text) != upper(text);
    return cased && (name == "lower" ? text == lower(text) : text == upper(text));
  }
  const Value* other = arguments.get(0, "other");
  static constexpr std::string_view kComparisons[] = {
      "equalto", "eq",          "==", "ne", "!=", "lt",          "lessthan",
      "gt",      "greaterthan", "le", "ge", "in", "divisibleby", "sameas"};
  if (std::find(std::begin(kComparisons), std::end(kComparisons), name) == std::end(kComparisons)) {
    return template_error(line, "the test " + in_quotes(name) + " is not known");
  }
  if (other == nullptr)
    return template_error(line, "the test " + in_quotes(name) + " needs a value");
  TROUPE_RETURN_IF_ERROR(budget->take(line, std::min(input.weight(), other->weight())));
  if (name == "equalto" || name == "eq" || name == "==") return equal(input, *other);
  if (name == "sameas") return input.data.index() == other->data.index() && equal(input, *other);
  if (name == "ne" || name == "!=") return !equal(input, *other);
  if (name == "in") return contains(budget, line, *other, input);
  if (name == "divisibleby") {
    if (input.integer() == nullptr || other->integer() == nullptr || *other->integer() == 0) {
      return wrong_type(line, "the test 'divisibleby'", input);
    }
    return *other->integer() == -1 || *input.integer() % *other->integer() == 0;
  }
  if (name == "lt" || name == "lessthan") return less(line, input, *other);
  if (name == "gt" || name == "greaterthan") return less(line, *other, input);
  TROUPE_ASSIGN_OR_RETURN(const bool reverse,
                          name == "le" ? less(line, *other, input) : less(line, input, *other));
  return !reverse;
}

Result<Value> call_method(Budget* budget, int line, const Value& object, const std::string& name,
                          const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, object.weight()));
  if (object.string() != nullptr) {
    return string_method(budget, line, *object.string(), name, arguments);
  }
  if (object.dict() != nullptr) return dict_method(line, *object.dict(), name, arguments);
  return template_error(line, "a value of type " + std::string(type_name(object)) +
                                  " has no method " + in_quotes(name));
}

Result<Value> subscript(Budget* budget, int line, const Value& object, const Value& key) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  if (object.is_undefined()) {
    TROUPE_ASSIGN_OR_RETURN(const std::string name, text_of(line, key));
    return template_error(line, "cannot take " + in_quotes(name) + " of an undefined value");
  }
  if (key.string() != nullptr) {
    const Dict* dict = object.dict();
    if (object.name_space() != nullptr) dict = &object.name_space()->attributes;
    const Value* found = dict == nullptr ? nullptr : find(*dict, *key.string());
    if (found != nullptr) return *found;
  }
  std::int64_t index = 0;
  if (key.integer() != nullptr) {
    index = *key.integer();
  } else if (key.string() == nullptr ||
             std::from_chars(key.string()->data(), key.string()->data() + key.string()->size(),
                             index)
                     .ptr != key.string()->data() + key.string()->size() ||
             key.string()->empty()) {
    return Value();
  }
  const auto place = [&](std::size_t size) {
    return index < 0 ? index + static_cast<std::int64_t>(size) : index;
  };
  if (const List* list = object.list()) {
    const std::int64_t at = place(list->size());
    const bool inside = at >= 0 && at < static_cast<std::int64_t>(list->size());
    return inside ? (*list)[static_cast<std::size_t>(at)] : Value();
  }
  if (const std::string* text = object.string(); text != nullptr && key.integer() != nullptr) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, text->size()));
    const std::vector<std::string_view> chars = characters(*text);
    const std::int64_t at = place(chars.size());
    const bool inside = at >= 0 && at < static_cast<std::int64_t>(chars.size());
    if (!inside) return Value();
    const Value one{std::string(chars[static_cast<std::size_t>(at)])};
    return object.is_foreign() ? one.as_foreign() : one;
  }
  return Value();
}

Result<bool> contains(Budget* budget, int line, const Value& container, const Value& item) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, container.weight()));
  if (const std::string* text = container.string()) {
    if (item.string() == nullptr) return wrong_type(line, "looking in a string", item);
    TROUPE_RETURN_IF_ERROR(take_search(budget, line, *text, *item.string()));
    return text->find(*item.string()) != std::string::npos;
  }
  if (const List* list = container.list()) {
    return std::any_of(list->begin(), list->end(),
                       [&](const Value& one) { return equal(one, item); });
  }
  if (const Dict* dict = container.dict()) {
    return item.string() != nullptr && find(*dict, *item.string()) != nullptr;
  }
  if (container.is_undefined()) return false;
  return wrong_type(line, "looking for an item", container);
}

Result<List> iterate(Budget* budget, int line, const Value& value) {
  List items;
  if (const List* list = value.list()) {
    items = *list;
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : *dict) items.emplace_back(key);
  } else if (const std::string* text = value.string()) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, text->size() * sizeof(Value)));
    for (const std::string_view character : characters(*text)) {
      items.emplace_back(std::string(character));
    }
  } else if (!value.is_undefined()) {
    return wrong_type(line, "going through items", value);
  }
  TROUPE_RETURN_IF_ERROR(budget->take(line, items.size() * sizeof(Value)));
  // Characters and keys are new strings; the items of a list are what they were.
  if (value.list() == nullptr && value.is_foreign()) {
    for (Value& item : items) item = item.as_foreign();
  }
  return items;
}

Result<Value> concatenate(Budget* budget, int line, const Value& a, const Value& b) {
  if (a.string() != nullptr && b.string() != nullptr) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, a.string()->size() + b.string()->size()));
    Text joined = *a.text();
    joined.append(*b.text());
    return Value(std::move(joined));
  }
  if (a.list() != nullptr && b.list() != nullptr) {
    TROUPE_RETURN_IF_ERROR(
        budget->take(line, (a.list()->size() + b.list()->size()) * sizeof(Value)));
    List list = *a.list();
    list.insert(list.end(), b.list()->begin(), b.list()->end());
    return Value(std::move(list));
  }
  double x = 0, y = 0;
  if (to_number(a, &x) && to_number(b, &y)) {
    if (a.real() != nullptr || b.real() != nullptr) return Value(x + y);
    const std::int64_t left = a.integer() != nullptr ? *a.integer() : std::int64_t{*a.boolean()};
    const std::int64_t right = b.integer() != nullptr ? *b.integer() : std::int64_t{*b.boolean()};
    std::int64_t sum = 0;
    if (__builtin_add_overflow(left, right, &sum))
      return template_error(line, "a sum is too large");
    return Value(sum);
  }
  return template_error(line, "values of the types " + std::string(type_name(a)) + " and " +
                                  std::string(type_name(b)) + " cannot be added");
}

}  // namespace troupe::model::jinja
