#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/model/jinja/value.h>

// Python's string methods as far as templates use them, over UTF-8 text whose bytes may be broken.
// For the .cpp files of the template language. Pure.

namespace troupe::model::jinja {

// `character`: one code point. White space as str.isspace has it.
bool is_white_space(std::string_view character);
bool is_letter(std::string_view character);
bool is_decimal(std::string_view character);  // a digit of any script
// Every character is of the kind, and there is one.
bool all_characters(std::string_view text, bool (*kind)(std::string_view));
// What Python's repr of a string shows as it is.
bool is_printable(char32_t code_point);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
// Words begin after any character that is no letter (the method), or after white space, '-' and
// opening brackets only (the filter).
std::string title(std::string_view text, bool filter);
std::string swap_case(std::string_view text);
std::string escape_html(std::string_view text);

enum class Side : std::uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };
// Without `set`, white space.
std::string strip(std::string_view text, const std::string* set, Side side);

// A negative count or limit: all.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count);
List split_at_white_space(std::string_view text, std::int64_t limit);
List split_at(std::string_view text, std::string_view separator, std::int64_t limit);
List split_from_right(std::string_view text, std::string_view separator, std::int64_t limit);
List split_lines(std::string_view text, bool keep_ends);
// [before, separator, behind], at the first place or the last.
List parts_around(std::string_view text, std::string_view separator, bool from_right);
// Filled up to `width` characters.
std::string justified(std::string_view text, std::size_t width, std::string_view fill,
                      Side text_at);

// How many characters begin before `byte`; npos: in the whole text. And back.
std::int64_t character_index(std::string_view text, std::size_t byte);
std::size_t byte_index(std::string_view text, std::int64_t character);

}  // namespace troupe::model::jinja
