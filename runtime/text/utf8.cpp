#include <cstring>

#include <troupe/runtime/text/utf8.h>

namespace troupe {

Utf8Char utf8_char(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Utf8State::kWhole, 1, lead};
  std::size_t length = 0;
  // The range of the second byte excludes overlong forms, surrogates and code points past U+10FFFF.
  unsigned second_min = 0x80, second_max = 0xbf;
  char32_t value = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
    value = lead & 0x1f;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    value = lead & 0x0f;
    if (lead == 0xe0) second_min = 0xa0;
    if (lead == 0xed) second_max = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    value = lead & 0x07;
    if (lead == 0xf0) second_min = 0x90;
    if (lead == 0xf4) second_max = 0x8f;
  } else {
    return {Utf8State::kInvalid, 1, 0};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8State::kIncomplete, i, 0};
    const unsigned next = byte(i);
    const unsigned low = i == 1 ? second_min : 0x80;
    const unsigned high = i == 1 ? second_max : 0xbf;
    if (next < low || next > high) return {Utf8State::kInvalid, i, 0};
    value = (value << 6) | (next & 0x3f);
  }
  return {Utf8State::kWhole, length, value};
}

std::size_t utf8_valid_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    // Skips eight ASCII bytes at a time, because most text is ASCII.
    std::uint64_t word;
    while (text.size() - at >= sizeof word) {
      std::memcpy(&word, text.data() + at, sizeof word);
      if ((word & 0x8080808080808080ull) != 0) break;
      at += sizeof word;
    }
    if (at == text.size()) break;
    const Utf8Char next = utf8_char(text.substr(at));
    if (next.state != Utf8State::kWhole) return at;
    at += next.bytes;
  }
  return at;
}

void append_utf8(char32_t code_point, std::string* out) {
  const auto put = [&](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    put(0xe0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3f));
    put(0x80 | (code_point & 0x3f));
  } else {
    put(0xf0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3f));
    put(0x80 | ((code_point >> 6) & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
}

std::string plain_line(std::string_view text, std::size_t bytes_max) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Char next = utf8_char(text.substr(at));
    if (at + next.bytes > bytes_max) {
      out += "...";
      break;
    }
    // With C0, DEL and C1 characters, a file could control the terminal of the person who reads the
    // message.
    const bool control =
        next.code_point < 0x20 || (next.code_point >= 0x7f && next.code_point < 0xa0);
    if (next.state == Utf8State::kWhole && !control) {
      out += text.substr(at, next.bytes);
    } else {
      for (std::size_t i = 0; i < next.bytes; ++i) {
        const auto byte = static_cast<unsigned char>(text[at + i]);
        out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      }
    }
    at += next.bytes;
  }
  return out;
}

std::string in_quotes(std::string_view text, std::size_t bytes_max) {
  return "'" + plain_line(text, bytes_max) + "'";
}

}  // namespace troupe
