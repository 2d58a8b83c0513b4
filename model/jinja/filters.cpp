#include <algorithm>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

// Filters of texts, and the look-up of all filters.

namespace troupe::model::jinja {
namespace {

// A filter that makes one text from another.
template <std::string (*kMake)(std::string_view)>
Result<Value> mapped(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  return counted(use.budget, use.line, kMake(text));
}

std::string unchanged(std::string_view text) { return std::string(text); }
std::string title_words(std::string_view text) { return title(text, /*filter=*/true); }

Result<Value> trim(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  const Value* set = use.get(0, "chars");
  return counted(use.budget, use.line,
                 strip(text, set == nullptr ? nullptr : set->string(), Side::kBoth));
}

Result<Value> replace_text(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  TROUPE_ASSIGN_OR_RETURN(const std::string from,
                          string_argument(use.line, use.arguments, 0, "old"));
  TROUPE_ASSIGN_OR_RETURN(const std::string to, string_argument(use.line, use.arguments, 1, "new"));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t count,
                          integer_argument(use.line, use.arguments, 2, "count", -1));
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
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, text.size() + lines * margin.size()));
  std::string out;
  bool begins = true, first_line = true;
  for (const char c : text) {
    if (begins && (first_line ? first : c != '\n' || blank)) out += margin;
    out += c;
    begins = c == '\n';
    first_line = first_line && !begins;
  }
  return counted(use.budget, use.line, std::move(out));
}

Result<Value> word_count(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  std::int64_t words = 0;
  bool inside = false;
  for (const std::string_view character : characters(text)) {
    const bool word = is_letter(character) || is_decimal(character) || character == "_";
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value(words);
}

constexpr Row kFilters[] = {
    {"trim", "chars", trim},
    {"upper", "", mapped<upper>},
    {"lower", "", mapped<lower>},
    {"title", "", mapped<title_words>},
    {"capitalize", "", mapped<capitalize>},
    {"replace", "old new count", replace_text},
    {"string", "", mapped<unchanged>},
    {"safe", "", mapped<unchanged>},
    {"e", "", mapped<escape_html>},
    {"escape", "", mapped<escape_html>},
    {"indent", "width first blank", indent},
    {"wordcount", "", word_count},
};

}  // namespace

Result<Value> apply_filter(Budget* budget, int line, const std::string& name, const Value& input,
                           const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, input.weight()));
  for (const auto& rows : {value_filters(), std::span<const Row>(kFilters), item_filters()}) {
    if (const Row* row = find_row(rows, name)) {
      return run_row(*row, {budget, line, name, input, arguments});
    }
  }
  return template_error(line, "the filter " + in_quotes(name) + " is not known");
}

}  // namespace troupe::model::jinja
