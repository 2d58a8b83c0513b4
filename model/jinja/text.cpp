#include <algorithm>
#include <iterator>
#include <utility>

#include <utf8proc.h>

#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

template <class Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    if (next.state != Utf8State::kWhole) {
      out += text.substr(0, next.bytes);
    } else {
      append_utf8(map(next.code_point), &out);
    }
    text.remove_prefix(next.bytes);
  }
  return out;
}

// Returns the first letter of a title-cased word, which is not always the capital: for U+01C6 it is
// U+01C5.
std::string title_letter(std::string_view character) {
  return map_characters(character, [](char32_t c) {
    return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  });
}

// Returns the last character of `text`, which must not be empty.
std::string_view last_character(std::string_view text) {
  for (std::size_t bytes = std::min<std::size_t>(4, text.size()); bytes > 1; --bytes) {
    const std::string_view end = text.substr(text.size() - bytes);
    const Utf8Char found = utf8_char(end);
    if (found.state == Utf8State::kWhole && found.bytes == bytes) return end;
  }
  return text.substr(text.size() - 1);
}

}  // namespace

bool is_white_space(std::string_view character) {
  const Utf8Char decoded = utf8_char(character);
  if (decoded.state != Utf8State::kWhole) return false;
  const char32_t c = decoded.code_point;
  if ((c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool is_letter(std::string_view character) {
  const Utf8Char decoded = utf8_char(character);
  if (decoded.state != Utf8State::kWhole) return false;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(decoded.code_point));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(std::string_view character) {
  const Utf8Char decoded = utf8_char(character);
  if (decoded.state != Utf8State::kWhole) return false;
  return utf8proc_category(static_cast<utf8proc_int32_t>(decoded.code_point)) ==
         UTF8PROC_CATEGORY_ND;
}

bool is_digit(std::string_view character) {
  if (is_decimal(character)) return true;
  const char32_t c = utf8_char(character).code_point;
  static constexpr std::pair<char32_t, char32_t> kDigits[] = {
      {0xb2, 0xb3},     {0xb9, 0xb9},     {0x1369, 0x1371}, {0x19da, 0x19da},
      {0x2070, 0x2070}, {0x2074, 0x2079}, {0x2080, 0x2089}, {0x2460, 0x2468},
      {0x2474, 0x247c}, {0x2488, 0x2490}, {0x24ea, 0x24ea}, {0x24f5, 0x24fd},
      {0x24ff, 0x24ff}, {0x2776, 0x277e}, {0x2780, 0x2788}, {0x278a, 0x2792}};
  return std::any_of(std::begin(kDigits), std::end(kDigits),
                     [&](const auto& range) { return c >= range.first && c <= range.second; });
}

bool is_numeric(std::string_view character) {
  const Utf8Char decoded = utf8_char(character);
  if (decoded.state != Utf8State::kWhole) return false;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(decoded.code_point));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool all_characters(std::string_view text, bool (*kind)(std::string_view)) {
  const bool any = !text.empty();
  while (!text.empty()) {
    const std::size_t bytes = utf8_char(text).bytes;
    if (!kind(text.substr(0, bytes))) return false;
    text.remove_prefix(bytes);
  }
  return any;
}

bool is_printable(char32_t code_point) {
  if (code_point == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string upper(std::string_view text) {
  return map_characters(text, [](char32_t c) -> char32_t {
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
  });
}
std::string lower(std::string_view text) {
  return map_characters(text, [](char32_t c) -> char32_t {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  });
}

std::string swap_case(std::string_view text) {
  std::string out;
  for (const std::string_view character : characters(text)) {
    const std::string raised = upper(character);
    out += raised == character ? lower(character) : raised;
  }
  return out;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t first = utf8_char(text).bytes;
  return title_letter(text.substr(0, first)) + lower(text.substr(first));
}

std::string title(std::string_view text, bool filter) {
  std::string out;
  bool begins = true;
  for (const std::string_view character : characters(text)) {
    out += !begins ? lower(character) : filter ? upper(character) : title_letter(character);
    begins = filter ? is_white_space(character) ||
                          std::string_view("-([{<").find(character) != std::string_view::npos
                    : !is_letter(character);
  }
  return out;
}

std::string strip(std::string_view text, const std::string* set, Side side) {
  const std::vector<std::string_view> strip_set =
      set == nullptr ? std::vector<std::string_view>() : characters(*set);
  const auto goes = [&](std::string_view character) {
    if (set == nullptr) return is_white_space(character);
    return std::find(strip_set.begin(), strip_set.end(), character) != strip_set.end();
  };
  while (side != Side::kRight && !text.empty()) {
    const std::size_t bytes = utf8_char(text).bytes;
    if (!goes(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  while (side != Side::kLeft && !text.empty()) {
    const std::string_view character = last_character(text);
    if (!goes(character)) break;
    text.remove_suffix(character.size());
  }
  return std::string(text);
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count) {
  std::string out;
  if (from.empty()) {  // then Python puts `to` before every character and at the end
    for (const std::string_view character : characters(text)) {
      if (count != 0) out += to;
      if (count > 0) --count;
      out += character;
    }
    if (count != 0) out += to;
    return out;
  }
  std::size_t at = 0;
  while (count != 0) {
    const std::size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    (out += text.substr(at, found - at)) += to;
    at = found + from.size();
    if (count > 0) --count;
  }
  return out += text.substr(at);
}

List split_at_white_space(std::string_view text, std::int64_t limit) {
  List parts;
  const std::vector<std::string_view> chars = characters(text);
  std::size_t i = 0;
  for (;;) {
    while (i < chars.size() && is_white_space(chars[i])) ++i;
    if (i == chars.size()) return parts;
    const char* begin = chars[i].data();
    if (limit == 0) {  // the rest stays in one piece
      parts.emplace_back(std::string(begin, text.data() + text.size()));
      return parts;
    }
    while (i < chars.size() && !is_white_space(chars[i])) ++i;
    const char* end = i < chars.size() ? chars[i].data() : text.data() + text.size();
    parts.emplace_back(std::string(begin, end));
    if (limit > 0) --limit;
  }
}

List split_at_white_space_from_right(std::string_view text, std::int64_t limit) {
  if (limit < 0) return split_at_white_space(text, limit);
  List parts;
  for (;;) {
    while (!text.empty() && is_white_space(last_character(text))) {
      text.remove_suffix(last_character(text).size());
    }
    if (text.empty()) break;
    std::string_view rest = text;
    while (limit > 0 && !rest.empty() && !is_white_space(last_character(rest))) {
      rest.remove_suffix(last_character(rest).size());
    }
    if (limit == 0) rest = {};
    parts.emplace_back(std::string(text.substr(rest.size())));
    text = rest;
    --limit;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

List split_at(std::string_view text, std::string_view separator, std::int64_t limit) {
  List parts;
  while (limit != 0) {
    const std::size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(std::string(text.substr(0, found)));
    text.remove_prefix(found + separator.size());
    if (limit > 0) --limit;
  }
  parts.emplace_back(std::string(text));
  return parts;
}

List split_from_right(std::string_view text, std::string_view separator, std::int64_t limit) {
  List parts;
  while (limit != 0) {
    const std::size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(std::string(text.substr(found + separator.size())));
    text = text.substr(0, found);
    if (limit > 0) --limit;
  }
  parts.emplace_back(std::string(text));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

List split_lines(std::string_view text, bool keep_ends) {
  List lines;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of("\n\r\v\f\x1c\x1d\x1e");
    if (end == std::string_view::npos) {
      lines.emplace_back(std::string(text));
      break;
    }
    const std::size_t next = end + (text.substr(end).starts_with("\r\n") ? 2 : 1);
    lines.emplace_back(std::string(text.substr(0, keep_ends ? next : end)));
    text.remove_prefix(next);
  }
  return lines;
}

List parts_around(std::string_view text, std::string_view separator, bool from_right) {
  const std::size_t found = from_right ? text.rfind(separator) : text.find(separator);
  const auto part = [](std::string_view one) { return Value(std::string(one)); };
  if (found == std::string_view::npos) {
    const List none = {part(""), part("")};
    List out = {part(text)};
    out.insert(from_right ? out.begin() : out.end(), none.begin(), none.end());
    return out;
  }
  return {part(text.substr(0, found)), part(separator),
          part(text.substr(found + separator.size()))};
}

std::string justified(std::string_view text, std::size_t width, std::string_view fill,
                      Side text_at) {
  const auto has = static_cast<std::size_t>(character_index(text, std::string_view::npos));
  if (has >= width) return std::string(text);
  const std::size_t margin = width - has;
  std::size_t left = text_at == Side::kLeft ? 0 : margin;
  // Python's str.center puts the odd fill character on the left if the width is odd, too.
  if (text_at == Side::kBoth) left = margin / 2 + (margin & width & 1);
  std::string out;
  for (std::size_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (std::size_t i = left; i < margin; ++i) out += fill;
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::int64_t character_index(std::string_view text, std::size_t byte) {
  text = text.substr(0, byte);
  std::int64_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(utf8_char(text).bytes);
  return count;
}

std::size_t byte_index(std::string_view text, std::int64_t character) {
  if (character < 0) character += character_index(text, std::string_view::npos);
  std::size_t byte = 0;
  for (; character > 0 && byte < text.size(); --character) {
    byte += utf8_char(text.substr(byte)).bytes;
  }
  return byte;
}

}  // namespace troupe::model::jinja
