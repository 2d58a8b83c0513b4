#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// What tokenizers ask about characters, and Unicode's normal forms. Every text that comes in is
// UTF-8 (utf8_valid_prefix). Pure, and linear in the text but for the sort of a run of combining
// marks.
// Source: Unicode 15, annex 15 (normal forms), through utf8proc.

namespace troupe::model {

enum class NormalForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view text, NormalForm form);

// Character by character, without context: a capital sigma is always U+03C3.
std::string lower_case(std::string_view text);
// Without the non-spacing marks (category Mn); decompose first to take accents from letters.
std::string without_marks(std::string_view text);

bool is_white_space(char32_t character);  // the property White_Space
// What BERT's tokenizers split from words: ASCII signs and symbols, and the category P.
bool is_bert_punctuation(char32_t character);
// Other than tab and line ends: controls, formats, surrogates, private use (category C, assigned).
bool is_control(char32_t character);
// The blocks of ideographs that BERT's tokenizers take one by one.
bool is_ideograph(char32_t character);

// Calls `visit(code point, bytes)` for each character.
template <class Visit>
void for_each_character(std::string_view text, Visit visit);

}  // namespace troupe::model

#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

template <class Visit>
void for_each_character(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    visit(next.code_point, text.substr(0, next.bytes));
    text.remove_prefix(next.bytes);
  }
}

}  // namespace troupe::model
