#include <algorithm>
#include <optional>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/format.h>
#include <troupe/model/jinja/methods.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

// Methods of strings.

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
bool is_letter_or_number(std::string_view one) { return is_letter(one) || is_numeric(one); }

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

// Returns the part of the text between the arguments at `first` and after it, which count
// characters. It is nullopt if the part begins after the end of the text.
Result<std::optional<std::string_view>> part_between(const Use& use, std::size_t first,
                                                     std::size_t* begin_byte = nullptr) {
  const std::string& text = text_in(use);
  const std::int64_t size = character_index(text, std::string::npos);
  std::int64_t bounds[2] = {0, size};
  for (std::size_t i = 0; i < 2; ++i) {
    const Value* given = use.get(first + i, i == 0 ? "start" : "end");
    if (given == nullptr || given->is_none()) continue;
    if (!to_integer(*given, &bounds[i])) return wrong_type(use.line, "counting with", *given);
    if (bounds[i] < 0) bounds[i] = std::max<std::int64_t>(bounds[i] + size, 0);
  }
  if (bounds[0] > size || bounds[0] > bounds[1]) return std::optional<std::string_view>();
  const std::size_t begin = byte_index(text, bounds[0]);
  const std::size_t end = byte_index(text, std::min(bounds[1], size));
  if (begin_byte != nullptr) *begin_byte = begin;
  return std::optional(std::string_view(text).substr(begin, end - begin));
}

Result<Value> has_affix(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const auto text, part_between(use, 1));
  const bool prefix = use.name == "startswith";
  const auto one = [&](const Value& value) {
    return text && value.string() != nullptr &&
           (prefix ? text->starts_with(*value.string()) : text->ends_with(*value.string()));
  };
  const Value* affix = use.get(0, "prefix");
  if (affix != nullptr && affix->string() != nullptr) return Value(one(*affix));
  if (affix != nullptr && affix->is_tuple()) {
    return Value(std::any_of(affix->list()->begin(), affix->list()->end(), one));
  }
  return template_error(use.line, "startswith and endswith expect a string or a tuple of strings");
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
    return counted(use.budget, use.line,
                   use.name == "rsplit" ? split_at_white_space_from_right(text, limit)
                                        : split_at_white_space(text, limit));
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
  return tuple_of(parts_around(text_in(use), separator, use.name == "rpartition"));
}

Result<Value> join_items(const Use& use) {
  const Value* given = use.get(0, "iterable");
  TROUPE_ASSIGN_OR_RETURN(const List items,
                          iterate(use.budget, use.line, given == nullptr ? Value() : *given));
  return join(use.budget, use.line, items, text_in(use));
}

// Runs the methods find, rfind, index, rindex and count. Their arguments are a part, and the first
// and the last character to look at.
Result<Value> look_for(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string part,
                          string_argument(use.line, use.arguments, 0, "sub"));
  TROUPE_RETURN_IF_ERROR(take_search(use.budget, use.line, text_in(use), part));
  std::size_t begin = 0;
  TROUPE_ASSIGN_OR_RETURN(const auto range, part_between(use, 1, &begin));
  if (use.name == "count") {
    if (!range) return Value(std::int64_t{0});
    if (part.empty()) return Value(character_index(*range, std::string_view::npos) + 1);
    return Value(static_cast<std::int64_t>(split_at(*range, part, -1).size()) - 1);
  }
  std::size_t found = std::string_view::npos;
  if (range) found = use.name.starts_with('r') ? range->rfind(part) : range->find(part);
  if (found != std::string_view::npos) {
    return Value(character_index(text_in(use), begin + found));
  }
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

Result<Value> format_text(const Use& use) {
  if (use.name == "format") {
    return format_braces(use.budget, use.line, *use.input.text(), use.arguments, nullptr);
  }
  const Value* names = use.get(0, "mapping");
  if (names == nullptr) return template_error(use.line, "format_map takes a dict");
  return format_braces(use.budget, use.line, *use.input.text(), {}, names);
}

Result<Value> expand_tabs(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t size,
                          integer_argument(use.line, use.arguments, 0, "tabsize", 8));
  const std::int64_t width = std::clamp<std::int64_t>(size, 0, 1000);
  std::string out;
  std::int64_t column = 0;
  for (const std::string_view character : characters(text_in(use))) {
    if (character == "\t") {
      const std::int64_t spaces = width == 0 ? 0 : width - column % width;
      out.append(static_cast<std::size_t>(spaces), ' ');
      column += spaces;
      TROUPE_RETURN_IF_ERROR(use.budget->work(use.line, static_cast<std::size_t>(spaces)));
    } else {
      out += character;
      column = character == "\n" || character == "\r" ? 0 : column + 1;
    }
  }
  return counted(use.budget, use.line, std::move(out));
}

Result<Value> is_ascii(const Use& use) {
  const std::string& text = text_in(use);
  return Value(std::all_of(text.begin(), text.end(),
                           [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
}

Result<Value> is_shown(const Use& use) {
  const std::string& text = text_in(use);
  return Value(text.empty() || all_characters(text, [](std::string_view one) {
                 return is_printable(utf8_char(one).code_point);
               }));
}

Result<Value> is_name(const Use& use) {
  const std::string& text = text_in(use);
  const auto part = [](std::string_view one) {
    return one == "_" || is_letter(one) || is_decimal(one);
  };
  return Value(all_characters(text, part) &&
               !is_decimal(std::string_view(text).substr(0, utf8_char(text).bytes)));
}

Result<Value> is_title(const Use& use) {
  const std::string& text = text_in(use);
  return Value(lower(text) != upper(text) && title(text, /*filter=*/false) == text);
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
    {"startswith", "prefix start end", has_affix},
    {"endswith", "prefix start end", has_affix},
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
    {"isdigit", "", all_are<is_digit>},
    {"isdecimal", "", all_are<is_decimal>},
    {"isnumeric", "", all_are<is_numeric>},
    {"isalpha", "", all_are<is_letter>},
    {"isalnum", "", all_are<is_letter_or_number>},
    {"isspace", "", all_are<is_white_space>},
    {"islower", "", is_cased},
    {"isupper", "", is_cased},
    {"istitle", "", is_title},
    {"isascii", "", is_ascii},
    {"isprintable", "", is_shown},
    {"isidentifier", "", is_name},
    {"expandtabs", "tabsize", expand_tabs},
    {"format", "*", format_text},
    {"format_map", "mapping", format_text},
    {"zfill", "width", justify},
    {"ljust", "width fillchar", justify},
    {"rjust", "width fillchar", justify},
    {"center", "width fillchar", justify},
};

}  // namespace

std::span<const Row> string_methods() { return kStringMethods; }

}  // namespace troupe::model::jinja
