#pragma once

#include <string>

// ASCII letters, whatever the locale says. Pure.

namespace troupe {

// The text with A to Z as a to z. Other bytes, those of UTF-8 among them, stay.
inline std::string to_lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace troupe
