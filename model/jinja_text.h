#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/model/jinja_value.h>

// Python's string methods as far as templates use them, over UTF-8 text whose bytes may be broken.
// For the .cpp files of the template language. Pure.

namespace troupe::model::jinja {

// `character`: one code point. White space as str.isspace has it.
bool is_white_space(std::string_view character);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
// Words begin after any character that is no letter (the method), or after white space, '-' and
// opening brackets only (the filter).
std::string title(std::string_view text, bool filter);
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
List split_lines(std::string_view text);

// How many characters begin before `byte`; npos: in the whole text.
std::int64_t character_index(std::string_view text, std::size_t byte);

}  // namespace troupe::model::jinja
