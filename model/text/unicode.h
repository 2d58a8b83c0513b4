#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/runtime/text/utf8.h>

// What tokenizers need to know about characters, and Unicode's normal forms. Every text must be
// UTF-8 (utf8_valid_prefix). Pure. The time is linear in the text, except for the sort of a run of
// combining marks.
// Source: Unicode 15, annex 15 (normal forms), through utf8proc; unicode_tables.h has what differs.

namespace troupe::model {

enum class NormalForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view text, NormalForm form);

// Lower-cases each character without context: a capital sigma always becomes U+03C3.
std::string lower_case(std::string_view text);
// Removes the non-spacing marks (category Mn). Decompose first to remove accents from letters.
std::string without_marks(std::string_view text);

bool is_white_space(char32_t character);  // the property White_Space
// Says whether BERT's tokenizers split the character from words: ASCII signs and symbols, and the
// category P.
bool is_bert_punctuation(char32_t character);
// Says whether the character is a control, a format, a surrogate or for private use (category C
// without unassigned ones), and not a tab or line end.
bool is_control(char32_t character);
// Says whether BERT's tokenizers take the character as a word of its own.
bool is_ideograph(char32_t character);

// Calls `visit(code point, bytes)` for each character.
template <class Visit>
void for_each_character(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    visit(next.code_point, text.substr(0, next.bytes));
    text.remove_prefix(next.bytes);
  }
}

}  // namespace troupe::model
