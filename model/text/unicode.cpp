#include <algorithm>
#include <array>
#include <vector>

#include <utf8proc.h>

#include <troupe/model/text/unicode.h>
#include <troupe/model/text/unicode_tables.h>

namespace troupe::model {
namespace {

utf8proc_category_t category_of(char32_t character) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(character));
}

bool is_mark(char32_t character) {
  return category_of(character) == UTF8PROC_CATEGORY_MN &&
         !in_ranges(unicode::kMarksOfLate, character);
}

// Appends the full decomposition of one character.
void decompose(char32_t character, bool compatible, std::vector<utf8proc_int32_t>* out) {
  // The longest decomposition, of U+FDFA, has 18 characters.
  std::array<utf8proc_int32_t, 32> parts;
  int boundary = 0;
  if (compatible && in_ranges(unicode::kCompatibleOfLate, character)) compatible = false;
  const int options = compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(character), parts.data(),
                                             static_cast<utf8proc_ssize_t>(parts.size()),
                                             static_cast<utf8proc_option_t>(options), &boundary);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(parts.size())) {
    out->push_back(static_cast<utf8proc_int32_t>(character));
    return;
  }
  out->insert(out->end(), parts.begin(), parts.begin() + count);
}

int combining_class(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

// Brings each run of marks into canonical order, by combining class; equal classes keep their
// order.
void reorder(std::vector<utf8proc_int32_t>* characters) {
  const auto end = characters->end();
  for (auto begin = characters->begin(); begin != end;) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto run_end = std::find_if(
        begin, end, [](utf8proc_int32_t character) { return combining_class(character) == 0; });
    std::stable_sort(begin, run_end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining_class(a) < combining_class(b);
    });
    begin = run_end;
  }
}

}  // namespace

std::string normalize(std::string_view text, NormalForm form) {
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char c) { return static_cast<signed char>(c) >= 0; });
  if (ascii) return std::string(text);
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool composed = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  std::vector<utf8proc_int32_t> characters;
  characters.reserve(text.size());
  for_each_character(text, [&](char32_t character, std::string_view) {
    decompose(character, compatible, &characters);
  });
  reorder(&characters);
  if (composed) {
    const auto count = utf8proc_normalize_utf32(
        characters.data(), static_cast<utf8proc_ssize_t>(characters.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    characters.resize(static_cast<std::size_t>(std::max<utf8proc_ssize_t>(count, 0)));
  }
  std::string out;
  out.reserve(text.size());
  for (const utf8proc_int32_t character : characters) {
    append_utf8(static_cast<char32_t>(character), &out);
  }
  return out;
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (c < 0x80) {
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    } else if (c == 0x130) {  // the only one whose lower case is two characters: i and a dot above
      out += "i\xcc\x87";
    } else if (const char32_t late = unicode::lower_case_of_late(c); late != c) {
      append_utf8(late, &out);
    } else {
      const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
      if (lower == c) {
        out += bytes;
      } else {
        append_utf8(lower, &out);
      }
    }
  });
  return out;
}

std::string without_marks(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (c < 0x80 || !is_mark(c)) out += bytes;
  });
  return out;
}

bool is_white_space(char32_t c) {
  if ((c >= 9 && c <= 13) || c == 0x85) return true;
  const utf8proc_category_t category = category_of(c);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool is_bert_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  }
  if (in_ranges(unicode::kPunctuationOfOld, c)) return true;
  const utf8proc_category_t category = category_of(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO &&
         !in_ranges(unicode::kPunctuationOfLate, c);
}

bool is_control(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const utf8proc_category_t category = category_of(c);
  const bool other = category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
                     category == UTF8PROC_CATEGORY_CS || category == UTF8PROC_CATEGORY_CO;
  return other && !in_ranges(unicode::kFormatsOfLate, c);
}

bool is_ideograph(char32_t c) {
  static constexpr unicode::Range kBlocks[] = {
      {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},  {0x20000, 0x2a6df},
      {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
  return in_ranges(kBlocks, c);
}

}  // namespace troupe::model
