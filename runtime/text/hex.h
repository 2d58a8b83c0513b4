#pragma once

#include <span>
#include <string>

// Bytes as hexadecimal digits. Pure.

namespace troupe {

// Two lower-case digits a byte, the high one first.
inline std::string to_hex(std::span<const unsigned char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const unsigned char byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

}  // namespace troupe
