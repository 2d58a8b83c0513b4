#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/pretty.h>
#include <troupe/model/jinja/text.h>
#include <troupe/model/text/regex.h>

// Filters that cut or fill texts to a width. Source: Jinja's filters, and Python's textwrap.

namespace troupe::model::jinja {
namespace {

std::int64_t width_of(std::string_view text) {
  return character_index(text, std::string_view::npos);
}

Result<Value> center(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t width,
                          integer_argument(use.line, use.arguments, 0, "width", 80));
  const auto columns = static_cast<std::size_t>(std::max<std::int64_t>(width, 0));
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, columns));
  return soft_text(use, justified(text, columns, " ", Side::kBoth));
}

Result<Value> truncate(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t length,
                          integer_argument(use.line, use.arguments, 0, "length", 255));
  const bool cuts_words = use.flag(1, "killwords");
  std::string end = "...";
  if (const Value* given = use.get(2, "end")) {
    TROUPE_ASSIGN_OR_RETURN(end, text_of(use.line, *given));
  }
  const Value* given = use.get(3, "leeway");
  std::int64_t leeway = 5;
  if (given != nullptr && !given->is_none() && !to_integer(*given, &leeway)) {
    return wrong_type(use.line, "counting with the argument 'leeway'", *given);
  }
  if (length < width_of(end) || leeway < 0) {
    return template_error(use.line, "'truncate' needs a length of at least that of its end");
  }
  if (width_of(text) <= length + leeway) {
    return use.input.string() != nullptr ? use.input : Value(text);
  }
  std::string cut = text.substr(0, byte_index(text, length - width_of(end)));
  if (!cuts_words) {
    const std::size_t space = cut.rfind(' ');
    if (space != std::string::npos) cut.resize(space);
  }
  return soft_text(use, cut + end);
}

struct Wrapping {
  std::int64_t width = 79;
  bool breaks_words = true, breaks_hyphens = true;
};

// Cuts a line into words and the white space between them, at hyphens too if asked for.
Result<std::vector<std::string>> chunks_of(const std::string& line, bool hyphens) {
  static constexpr std::string_view kWhole = R"([\t\n\x0b\x0c\r ]+)";
  // A letter is a word character that is not a digit.
  static constexpr std::string_view kHyphens =
      R"([\t\n\x0b\x0c\r ]+|(?<=[\w!"'&.,?])-{2,}(?=\w))"
      R"(|[^\t\n\x0b\x0c\r ]+?(?:-(?:(?<=(?!\d)\w(?!\d)\w-)|(?<=(?!\d)\w-[\w!"'&.,?]-)))"
      R"((?=(?!\d)\w-?(?!\d)\w)|(?=[\t\n\x0b\x0c\r ]|\z)|(?<=[\w!"'&.,?])(?=-{2,}\w)))";
  TROUPE_ASSIGN_OR_RETURN(const Regex regex,
                          Regex::compile(hyphens ? kHyphens : kWhole, /*foreign=*/false));
  std::vector<TextSpan> matches;
  TROUPE_RETURN_IF_ERROR(regex.find_all(line, &matches));
  std::vector<std::string> out;
  std::size_t at = 0;
  for (const TextSpan& match : matches) {
    if (match.begin > at) out.push_back(line.substr(at, match.begin - at));
    out.push_back(line.substr(match.begin, match.end - match.begin));
    at = match.end;
  }
  if (at < line.size()) out.push_back(line.substr(at));
  return out;
}

bool is_blank(const std::string& text) { return all_characters(text, is_white_space); }

// Takes the part of a word that fits into the rest of this line, if the word is wider than a line.
void break_word(const Wrapping& wrapping, std::vector<std::string>* chunks,
                std::vector<std::string>* line, std::int64_t used) {
  std::string& word = chunks->back();
  const std::int64_t room = wrapping.width < 1 ? 1 : wrapping.width - used;
  if (!wrapping.breaks_words) {
    if (!line->empty()) return;
    line->push_back(std::move(word));
    chunks->pop_back();
    return;
  }
  std::int64_t end = room;
  if (wrapping.breaks_hyphens && width_of(word) > room) {
    const std::size_t hyphen = word.substr(0, byte_index(word, room)).rfind('-');
    const bool inside = hyphen != std::string::npos && hyphen > 0 &&
                        word.substr(0, hyphen).find_first_not_of('-') != std::string::npos;
    if (inside) end = character_index(word, hyphen) + 1;
  }
  const std::size_t bytes = byte_index(word, end);
  line->push_back(word.substr(0, bytes));
  word.erase(0, bytes);
}

Result<std::vector<std::string>> wrapped(const Use& use, const std::string& text,
                                         const Wrapping& wrapping) {
  TROUPE_ASSIGN_OR_RETURN(std::vector<std::string> chunks,
                          chunks_of(text, wrapping.breaks_hyphens));
  std::reverse(chunks.begin(), chunks.end());
  std::vector<std::string> lines;
  while (!chunks.empty()) {
    TROUPE_RETURN_IF_ERROR(use.budget->step(use.line));
    std::vector<std::string> line;
    std::int64_t used = 0;
    if (is_blank(chunks.back()) && !lines.empty()) chunks.pop_back();
    while (!chunks.empty()) {
      const std::int64_t width = width_of(chunks.back());
      if (used + width > wrapping.width) break;
      line.push_back(std::move(chunks.back()));
      chunks.pop_back();
      used += width;
    }
    if (!chunks.empty() && width_of(chunks.back()) > wrapping.width) {
      TROUPE_RETURN_IF_ERROR(use.budget->work(use.line, chunks.back().size()));
      break_word(wrapping, &chunks, &line, used);
    }
    if (!line.empty() && is_blank(line.back())) line.pop_back();
    if (line.empty()) continue;
    std::string joined;
    for (const std::string& chunk : line) joined += chunk;
    lines.push_back(std::move(joined));
  }
  return lines;
}

Result<Value> wrap_words(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  Wrapping wrapping;
  TROUPE_ASSIGN_OR_RETURN(wrapping.width,
                          integer_argument(use.line, use.arguments, 0, "width", 79));
  if (wrapping.width < 1) return template_error(use.line, "'wordwrap' needs a width above 0");
  wrapping.breaks_words = use.flag(1, "break_long_words", true);
  std::string end = "\n";
  if (const Value* given = use.get(2, "wrapstring"); given != nullptr && truth(*given)) {
    TROUPE_ASSIGN_OR_RETURN(end, text_of(use.line, *given));
  }
  wrapping.breaks_hyphens = use.flag(3, "break_on_hyphens", true);
  std::string out;
  bool first = true;
  for (const Value& line : split_lines(text, /*keep_ends=*/false)) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<std::string> lines,
                            wrapped(use, *line.string(), wrapping));
    if (!first) out += end;
    first = false;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > 0) out += end;
      out += lines[i];
    }
    TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, out.size() / 16));
  }
  return counted(use.budget, use.line, std::move(out));
}

Result<Value> pretty_print(const Use& use) {
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, 16 * use.input.weight()));
  Result<std::string> text = to_pretty(use.input, Budget::kTextBytesMax);
  if (!text.is_ok()) return template_error(use.line, text.message(), text.code());
  return counted(use.budget, use.line, std::move(*text));
}

constexpr Row kLayoutFilters[] = {
    {"center", "width", center},
    {"truncate", "length killwords end leeway", truncate},
    {"wordwrap", "width break_long_words wrapstring break_on_hyphens", wrap_words},
    {"pprint", "", pretty_print},
};

}  // namespace

std::span<const Row> layout_filters() { return kLayoutFilters; }

}  // namespace troupe::model::jinja
