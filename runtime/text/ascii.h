#pragma once

#include <string>

// ASCII letters and digits, whatever the locale says. Pure.

namespace troupe {

// Returns the text with A to Z as a to z. Other bytes, including those of UTF-8, stay.
inline std::string to_lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// True if a byte is one of a to z, A to Z and 0 to 9.
constexpr bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace troupe
