#include <algorithm>
#include <array>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/format.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

// Filters of texts, and the look-up of all filters.

namespace troupe::model::jinja {

Result<Value> soft_text(const Use& use, std::string text) {
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, text.size()));
  return Value(Text{std::move(text), {}, use.input.is_markup()});
}

namespace {

// Runs a filter that turns a text into another one, and markup into markup.
template <std::string (*kMake)(std::string_view)>
Result<Value> mapped(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  return soft_text(use, kMake(text));
}

std::string unchanged(std::string_view text) { return std::string(text); }

Result<Value> title_words(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  return counted(use.budget, use.line, title(text, /*filter=*/true));
}

Result<Value> as_markup(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(std::string text, text_of(use.line, use.input));
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, text.size()));
  return Value(Text{std::move(text), {}, true});
}

Result<Value> escape(const Use& use) {
  if (use.input.is_markup() && use.name != "forceescape") return use.input;
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  std::string made = escape_html(text);
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, made.size()));
  return Value(Text{std::move(made), {}, true});
}

Result<Value> trim(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  const Value* set = use.get(0, "chars");
  return soft_text(use, strip(text, set == nullptr ? nullptr : set->string(), Side::kBoth));
}

Result<Value> replace_text(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  const Value *old = use.get(0, "old"), *now = use.get(1, "new");
  if (old == nullptr || now == nullptr) {
    return template_error(use.line, "'replace' needs an old and a new text");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string from, text_of(use.line, *old));
  TROUPE_ASSIGN_OR_RETURN(const std::string to, text_of(use.line, *now));
  const Value* limit = use.get(2, "count");
  std::int64_t count = -1;
  if (limit != nullptr && !limit->is_none() && !to_integer(*limit, &count)) {
    return wrong_type(use.line, "counting with the argument 'count'", *limit);
  }
  TROUPE_RETURN_IF_ERROR(take_search(use.budget, use.line, text, from));
  const std::size_t most = from.empty() ? text.size() + 1 : text.size() / from.size();
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, text.size() + most * to.size()));
  return counted(use.budget, use.line, jinja::replace(text, from, to, count));
}

Result<Value> indent(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  std::string margin(4, ' ');
  const Value* width = use.get(0, "width");
  if (width != nullptr && width->string() != nullptr) {
    margin = *width->string();
  } else {
    TROUPE_ASSIGN_OR_RETURN(const std::int64_t columns,
                            integer_argument(use.line, use.arguments, 0, "width", 4));
    margin = std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(columns, 0, 1000)), ' ');
  }
  const bool first = use.flag(1, "first"), blank = use.flag(2, "blank");
  const List lines = split_lines(text + "\n", /*keep_ends=*/false);
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, text.size() + lines.size() * margin.size()));
  std::string out = first ? margin : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = *lines[i].string();
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !line.empty())) out += margin;
    out += line;
  }
  return soft_text(use, std::move(out));
}

Result<Value> word_count(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  std::int64_t words = 0;
  bool inside = false;
  for (const std::string_view character : characters(text)) {
    const bool word = is_letter(character) || is_numeric(character) || character == "_";
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value(words);
}

// input % arguments
Result<Value> format(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(std::string text, text_of(use.line, use.input));
  if (!use.arguments.positional.empty() && !use.arguments.keywords.empty()) {
    return template_error(use.line, "'format' takes either named arguments or others");
  }
  Value values = tuple_of(use.arguments.positional);
  if (!use.arguments.keywords.empty()) {
    Dict named;
    for (const auto& [name, value] : use.arguments.keywords) named.emplace_back(Value(name), value);
    values = Value(std::move(named));
  }
  const Value shape(Text{std::move(text), {}, use.input.is_markup()});
  return format_percent(use.budget, use.line, shape, values);
}

constexpr Row kFilters[] = {
    {"trim", "chars", trim},
    {"upper", "", mapped<upper>},
    {"lower", "", mapped<lower>},
    {"title", "", title_words},
    {"capitalize", "", mapped<capitalize>},
    {"replace", "old new count", replace_text},
    {"string", "", mapped<unchanged>},
    {"safe", "", as_markup},
    {"e", "", escape},
    {"escape", "", escape},
    {"forceescape", "", escape},
    {"format", "*", format},
    {"indent", "width first blank", indent},
    {"wordcount", "", word_count},
};

const Row* find_filter(std::string_view name) {
  const std::array tables = {value_filters(),  std::span<const Row>(kFilters),
                             item_filters(),   choosing_filters(),
                             layout_filters(), web_filters()};
  for (const std::span<const Row> rows : tables) {
    if (const Row* row = find_row(rows, name)) return row;
  }
  return nullptr;
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

Result<Value> apply_filter(Budget* budget, int line, const std::string& name, const Value& input,
                           const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, input.weight()));
  const Row* row = find_filter(name);
  if (row != nullptr) return run_row(*row, {budget, line, name, input, arguments});
  return template_error(line, "the filter " + in_quotes(name) + " is not known");
}

}  // namespace troupe::model::jinja
