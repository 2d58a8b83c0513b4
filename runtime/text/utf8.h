#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing past U+10FFFF. Pure.

namespace troupe {

enum class Utf8State : std::uint8_t { kWhole, kIncomplete, kInvalid };

struct Utf8Char {
  Utf8State state = Utf8State::kInvalid;
  // For kWhole, the bytes of the character. For kIncomplete, the bytes that are there, a prefix of
  // a character. For kInvalid, the bytes of the longest prefix of a character, at least 1 (which
  // one U+FFFD replaces).
  std::size_t bytes = 1;
  char32_t code_point = 0;  // for kWhole only
};
// Reads the character at the start of `text`, which must not be empty.
Utf8Char utf8_char(std::string_view text);

// Returns the index of the first byte that is not part of a whole character; text.size() if there
// is none.
std::size_t utf8_valid_prefix(std::string_view text);

// Appends the bytes of `code_point`, a scalar value.
void append_utf8(char32_t code_point, std::string* out);

// Returns `text` as it may be shown to a person, on one line: at most `bytes_max` bytes, and
// control or invalid bytes as \xNN.
std::string plain_line(std::string_view text, std::size_t bytes_max);

// Returns `text` between single quotes for a message to a person: at most `bytes_max` bytes, and
// control or invalid bytes as \xNN.
std::string in_quotes(std::string_view text, std::size_t bytes_max = 80);

}  // namespace troupe
