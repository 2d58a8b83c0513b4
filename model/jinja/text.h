#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/model/jinja/value.h>

// Python's string methods as far as templates use them, for UTF-8 text that may have broken bytes.
// For the .cpp files of this room. Pure.

namespace troupe::model::jinja {

// These are for one code point. White space is what str.isspace says.
bool is_white_space(std::string_view character);
bool is_letter(std::string_view character);
bool is_decimal(std::string_view character);  // a digit of any script
bool is_digit(std::string_view character);    // str.isdigit: superscripts too
bool is_numeric(std::string_view character);  // str.isnumeric: fractions and the like too
// Says whether the text is not empty and all of its characters are of the kind.
bool all_characters(std::string_view text, bool (*kind)(std::string_view));
// Says whether Python's repr of a string shows the character unescaped.
bool is_printable(char32_t code_point);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
// Capitalizes words. For the method, a word begins after any character that is not a letter; for
// the filter, only after white space, '-' and opening brackets.
std::string title(std::string_view text, bool filter);
std::string swap_case(std::string_view text);
std::string escape_html(std::string_view text);

enum class Side : std::uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };
// Strips the characters of `set`, or white space if it is null.
std::string strip(std::string_view text, const std::string* set, Side side);

// In these functions, a negative count or limit means that there is none.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count);
List split_at_white_space(std::string_view text, std::int64_t limit);
List split_at_white_space_from_right(std::string_view text, std::int64_t limit);
List split_at(std::string_view text, std::string_view separator, std::int64_t limit);
List split_from_right(std::string_view text, std::string_view separator, std::int64_t limit);
List split_lines(std::string_view text, bool keep_ends);
// Returns [before, separator, after] at the first or the last place of the separator.
List parts_around(std::string_view text, std::string_view separator, bool from_right);
// Returns the text filled up to `width` characters.
std::string justified(std::string_view text, std::size_t width, std::string_view fill,
                      Side text_at);

// Returns the number of characters that begin before `byte` (npos: in the whole text).
std::int64_t character_index(std::string_view text, std::size_t byte);
// Returns the byte at which a character begins.
std::size_t byte_index(std::string_view text, std::int64_t character);

}  // namespace troupe::model::jinja
