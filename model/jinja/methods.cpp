#include <algorithm>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/methods.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

// Methods of strings, dicts and lists.

namespace troupe::model::jinja {
namespace {

const std::string& text_in(const Use& use) { return *use.input.string(); }

template <std::string (*kMake)(std::string_view)>
Result<Value> mapped(const Use& use) {
  return counted(use.budget, use.line, kMake(text_in(use)));
}
template <bool (*kKind)(std::string_view)>
Result<Value> all_are(const Use& use) {
  return Value(all_characters(text_in(use), kKind));
}
std::string title_case(std::string_view text) { return title(text, /*filter=*/false); }
bool is_letter_or_decimal(std::string_view one) { return is_letter(one) || is_decimal(one); }

Result<Value> strip_text(const Use& use) {
  const Value* given = use.get(0, "chars");
  const std::string* set = given == nullptr ? nullptr : given->string();
  const Side side = use.name == "strip"    ? Side::kBoth
                    : use.name == "lstrip" ? Side::kLeft
                                           : Side::kRight;
  return counted(use.budget, use.line, strip(text_in(use), set, side));
}

Result<Value> is_cased(const Use& use) {
  const std::string& text = text_in(use);
  const std::string low = lower(text), high = upper(text);
  return Value(low != high && text == (use.name == "islower" ? low : high));
}

Result<Value> has_affix(const Use& use) {
  const std::string& text = text_in(use);
  const bool prefix = use.name == "startswith";
  const auto one = [&](const Value& value) {
    return value.string() != nullptr &&
           (prefix ? text.starts_with(*value.string()) : text.ends_with(*value.string()));
  };
  const Value* affix = use.get(0, "prefix");
  if (affix != nullptr && affix->string() != nullptr) return Value(one(*affix));
  if (affix != nullptr && affix->list() != nullptr) {
    return Value(std::any_of(affix->list()->begin(), affix->list()->end(), one));
  }
  return template_error(use.line, "startswith and endswith expect a string");
}

Result<Value> remove_affix(const Use& use) {
  std::string_view text = text_in(use);
  TROUPE_ASSIGN_OR_RETURN(const std::string affix,
                          string_argument(use.line, use.arguments, 0, "affix"));
  if (use.name == "removeprefix" && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (use.name == "removesuffix" && text.ends_with(affix)) text.remove_suffix(affix.size());
  return counted(use.budget, use.line, std::string(text));
}

Result<Value> replace_text(const Use& use) {
  return apply_filter(use.budget, use.line, "replace", use.input, use.arguments);
}

Result<Value> split(const Use& use) {
  const std::string& text = text_in(use);
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t limit,
                          integer_argument(use.line, use.arguments, 1, "maxsplit", -1));
  const Value* given = use.get(0, "sep");
  if (given == nullptr || given->is_none()) {
    if (use.name == "rsplit" && limit >= 0) {
      return template_error(use.line, "rsplit at white space takes no limit");
    }
    return counted(use.budget, use.line, split_at_white_space(text, limit));
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string separator,
                          string_argument(use.line, use.arguments, 0, "sep"));
  if (separator.empty()) return template_error(use.line, "split with an empty separator");
  TROUPE_RETURN_IF_ERROR(take_search(use.budget, use.line, text, separator));
  return counted(use.budget, use.line,
                 use.name == "split" ? split_at(text, separator, limit)
                                     : split_from_right(text, separator, limit));
}

Result<Value> split_into_lines(const Use& use) {
  return counted(use.budget, use.line, split_lines(text_in(use), use.flag(0, "keepends")));
}

Result<Value> part(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string separator,
                          string_argument(use.line, use.arguments, 0, "sep"));
  if (separator.empty()) return template_error(use.line, "partition with an empty separator");
  TROUPE_RETURN_IF_ERROR(take_search(use.budget, use.line, text_in(use), separator));
  return counted(use.budget, use.line,
                 parts_around(text_in(use), separator, use.name == "rpartition"));
}

Result<Value> join_items(const Use& use) {
  const Value* given = use.get(0, "iterable");
  TROUPE_ASSIGN_OR_RETURN(const List items,
                          iterate(use.budget, use.line, given == nullptr ? Value() : *given));
  return join(use.budget, use.line, items, text_in(use));
}

// The methods find, rfind, index, rindex and count. Their arguments are a part, and the first and
// the last character to look at.
Result<Value> look_for(const Use& use) {
  std::string_view text = text_in(use);
  TROUPE_ASSIGN_OR_RETURN(const std::string part,
                          string_argument(use.line, use.arguments, 0, "sub"));
  TROUPE_RETURN_IF_ERROR(take_search(use.budget, use.line, text, part));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t first,
                          integer_argument(use.line, use.arguments, 1, "start", 0));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t last,
                          integer_argument(use.line, use.arguments, 2, "end", INT32_MAX));
  const std::size_t begin = byte_index(text, first);
  text = text.substr(0, std::max(begin, byte_index(text, last)));
  const std::string_view range = text.substr(begin);
  if (use.name == "count") {
    if (part.empty()) return Value(character_index(range, std::string_view::npos) + 1);
    return Value(static_cast<std::int64_t>(split_at(range, part, -1).size()) - 1);
  }
  const std::size_t found = use.name.starts_with('r') ? range.rfind(part) : range.find(part);
  if (found != std::string_view::npos) return Value(character_index(text, begin + found));
  if (use.name.ends_with("find")) return Value(std::int64_t{-1});
  return template_error(use.line, in_quotes(part) + " is not in the string");
}

Result<Value> justify(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t width,
                          integer_argument(use.line, use.arguments, 0, "width", 0));
  std::string fill = use.name == "zfill" ? "0" : " ";
  if (use.get(1, "fillchar") != nullptr) {
    TROUPE_ASSIGN_OR_RETURN(fill, string_argument(use.line, use.arguments, 1, "fillchar"));
    if (character_index(fill, std::string_view::npos) != 1) {
      return template_error(use.line, in_quotes(use.name) + " fills with one character");
    }
  }
  const auto columns = static_cast<std::size_t>(std::max<std::int64_t>(width, 0));
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, columns));
  std::string_view text = text_in(use);
  if (use.name == "zfill" && !text.empty() && (text[0] == '-' || text[0] == '+')) {
    return counted(use.budget, use.line,
                   text[0] + justified(text.substr(1), std::max<std::size_t>(columns, 1) - 1, fill,
                                       Side::kRight));
  }
  const Side at = use.name == "ljust"    ? Side::kLeft
                  : use.name == "center" ? Side::kBoth
                                         : Side::kRight;
  return counted(use.budget, use.line, justified(text, columns, fill, at));
}

constexpr Row kStringMethods[] = {
    {"strip", "chars", strip_text},
    {"lstrip", "chars", strip_text},
    {"rstrip", "chars", strip_text},
    {"upper", "", mapped<upper>},
    {"lower", "", mapped<lower>},
    {"casefold", "", mapped<lower>},
    {"title", "", mapped<title_case>},
    {"capitalize", "", mapped<capitalize>},
    {"swapcase", "", mapped<swap_case>},
    {"startswith", "prefix", has_affix},
    {"endswith", "prefix", has_affix},
    {"removeprefix", "affix", remove_affix},
    {"removesuffix", "affix", remove_affix},
    {"replace", "old new count", replace_text},
    {"split", "sep maxsplit", split},
    {"rsplit", "sep maxsplit", split},
    {"splitlines", "keepends", split_into_lines},
    {"partition", "sep", part},
    {"rpartition", "sep", part},
    {"join", "iterable", join_items},
    {"find", "sub start end", look_for},
    {"rfind", "sub start end", look_for},
    {"index", "sub start end", look_for},
    {"rindex", "sub start end", look_for},
    {"count", "sub start end", look_for},
    {"isdigit", "", all_are<is_decimal>},
    {"isdecimal", "", all_are<is_decimal>},
    {"isnumeric", "", all_are<is_decimal>},
    {"isalpha", "", all_are<is_letter>},
    {"isalnum", "", all_are<is_letter_or_decimal>},
    {"isspace", "", all_are<is_white_space>},
    {"islower", "", is_cased},
    {"isupper", "", is_cased},
    {"zfill", "width", justify},
    {"ljust", "width fillchar", justify},
    {"rjust", "width fillchar", justify},
    {"center", "width fillchar", justify},
};

Result<Value> keys_of(const Use& use) {
  List out;
  for (const auto& [key, value] : *use.input.dict()) out.emplace_back(key);
  return Value(std::move(out));
}

Result<Value> values_of(const Use& use) {
  List out;
  for (const auto& [key, value] : *use.input.dict()) out.push_back(value);
  return Value(std::move(out));
}

Result<Value> items_of(const Use& use) { return dict_items(*use.input.dict()); }
Result<Value> copy_of(const Use& use) { return use.input; }

Result<Value> get_of(const Use& use) {
  const Value* key = use.get(0, "key");
  if (key == nullptr) return template_error(use.line, "'get' needs a key");
  if (key->string() != nullptr) {
    if (const Value* found = find(*use.input.dict(), *key->string())) return *found;
  }
  const Value* fallback = use.get(1, "default");
  return fallback != nullptr ? *fallback : Value(None{});
}

constexpr Row kDictMethods[] = {
    {"items", "", items_of}, {"keys", "", keys_of},          {"values", "", values_of},
    {"copy", "", copy_of},   {"get", "key default", get_of},
};

Result<Value> place_in_list(const Use& use) {
  const List& list = *use.input.list();
  const Value* item = use.get(0, "value");
  if (item == nullptr) return template_error(use.line, in_quotes(use.name) + " needs a value");
  if (use.name == "count") {
    return Value(static_cast<std::int64_t>(std::count_if(
        list.begin(), list.end(), [&](const Value& one) { return equal(one, *item); })));
  }
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const Value& one) { return equal(one, *item); });
  if (found == list.end()) return template_error(use.line, "the value is not in the list");
  return Value(static_cast<std::int64_t>(found - list.begin()));
}

constexpr Row kListMethods[] = {{"index", "value", place_in_list},
                                {"count", "value", place_in_list}};

// loop.cycle('a', 'b') returns the argument whose turn it is.
Result<Value> cycle(const Use& use) {
  const Value* index = find(*use.input.dict(), "index0");
  if (use.arguments.positional.empty()) return template_error(use.line, "'cycle' needs values");
  const auto turn = static_cast<std::size_t>(*index->integer());
  return use.arguments.positional[turn % use.arguments.positional.size()];
}
constexpr Row kCycle = {"cycle", "*", cycle};

bool is_loop(const Value& value) {
  const Value* index = value.dict() == nullptr ? nullptr : find(*value.dict(), "index0");
  return index != nullptr && index->integer() != nullptr && *index->integer() >= 0 &&
         find(*value.dict(), "revindex0") != nullptr;
}

}  // namespace

Result<Value> call_method(Budget* budget, int line, const Value& object, const std::string& name,
                          const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, object.weight()));
  std::span<const Row> rows;
  if (object.string() != nullptr) rows = kStringMethods;
  if (object.dict() != nullptr) rows = kDictMethods;
  if (object.list() != nullptr) rows = kListMethods;
  const Row* row = find_row(rows, name);
  if (row == nullptr && name == "cycle" && is_loop(object)) row = &kCycle;
  if (row != nullptr) return run_row(*row, {budget, line, name, object, arguments});
  if (object.is_undefined()) {
    return template_error(line, "cannot call " + in_quotes(name) + " of an undefined value");
  }
  const std::string kind = object.string() != nullptr ? "strings have"
                           : object.dict() != nullptr
                               ? "dicts have"
                               : "a value of type " + std::string(type_name(object)) + " has";
  return template_error(line, kind + " no method " + in_quotes(name));
}

}  // namespace troupe::model::jinja
