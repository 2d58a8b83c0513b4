#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// JSON that is written by hand, because it is written once a token. Pure.

namespace troupe::http {

// Appends `text` in quotes. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string_view text, std::string* out);
// The same, but null for "".
void append_json_string_or_null(std::string_view text, std::string* out);
// The shortest decimal number that reads back as the same float; null for what is not a number.
void append_json_float(float value, std::string* out);
// [226,130,172]
void append_json_bytes(std::string_view bytes, std::string* out);

}  // namespace troupe::http
