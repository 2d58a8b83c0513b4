#include <algorithm>

#include <troupe/model/jinja_builtin_parts.h>
#include <troupe/model/jinja_lexer.h>
#include <troupe/model/jinja_text.h>
#include <troupe/model/utf8.h>

// Methods of strings and dicts.

namespace troupe::model::jinja {
namespace {

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

}  // namespace troupe::model::jinja
