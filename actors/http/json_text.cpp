#include <charconv>
#include <cmath>

#include <troupe/actors/http/json_text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

void append_escaped(char c, std::string* out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      *out += "\\u00";
      *out += kDigits[(c >> 4) & 15];
      *out += kDigits[c & 15];
  }
}

}  // namespace

void append_json_string(std::string_view text, std::string* out) {
  *out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && is_plain(text[i])) ++i;
    out->append(text, begin, i - begin);
    if (i == text.size()) break;
    const char c = text[i];
    if (static_cast<unsigned char>(c) < 0x80) {
      append_escaped(c, out);
      ++i;
    } else {
      const Utf8Char next = utf8_char(text.substr(i));
      const bool whole = next.state == Utf8State::kWhole;
      *out += whole ? text.substr(i, next.bytes) : kReplacement;
      i += next.bytes;
    }
  }
  *out += '"';
}

void append_json_string_or_null(std::string_view text, std::string* out) {
  if (text.empty()) {
    *out += "null";
  } else {
    append_json_string(text, out);
  }
}

void append_json_float(float value, std::string* out) {
  if (!std::isfinite(value)) {
    *out += "null";
    return;
  }
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  out->append(digits, end.ptr);
}

void append_json_bytes(std::string_view bytes, std::string* out) {
  *out += '[';
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) *out += ',';
    *out += std::to_string(static_cast<unsigned char>(bytes[i]));
  }
  *out += ']';
}

}  // namespace troupe::http
