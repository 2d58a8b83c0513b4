#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Writes JSON by hand, because this happens for every token. Pure.

namespace troupe::http {

// Appends `text` in quotes. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string_view text, std::string* out);
// Does the same, but writes null for "".
void append_json_string_or_null(std::string_view text, std::string* out);
// Appends the shortest decimal number that reads back as the same float; null if it is not a finite
// number.
void append_json_float(float value, std::string* out);
// [226,130,172]
void append_json_bytes(std::string_view bytes, std::string* out);

}  // namespace troupe::http
