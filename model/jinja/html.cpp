#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include <troupe/model/jinja/html.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

// The entities of XML, of Latin-1's signs and of typography.
constexpr std::pair<std::string_view, char32_t> kEntities[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},       {"quot", '"'},      {"apos", '\''},
    {"nbsp", 0xa0},    {"copy", 0xa9},    {"reg", 0xae},     {"deg", 0xb0},      {"plusmn", 0xb1},
    {"middot", 0xb7},  {"laquo", 0xab},   {"raquo", 0xbb},   {"times", 0xd7},    {"divide", 0xf7},
    {"cent", 0xa2},    {"pound", 0xa3},   {"yen", 0xa5},     {"sect", 0xa7},     {"para", 0xb6},
    {"euro", 0x20ac},  {"ndash", 0x2013}, {"mdash", 0x2014}, {"lsquo", 0x2018},  {"rsquo", 0x2019},
    {"ldquo", 0x201c}, {"rdquo", 0x201d}, {"bull", 0x2022},  {"hellip", 0x2026}, {"trade", 0x2122},
    {"larr", 0x2190},  {"rarr", 0x2192},  {"auml", 0xe4},    {"ouml", 0xf6},     {"uuml", 0xfc},
    {"Auml", 0xc4},    {"Ouml", 0xd6},    {"Uuml", 0xdc},    {"szlig", 0xdf},    {"eacute", 0xe9},
    {"egrave", 0xe8},  {"agrave", 0xe0},  {"aacute", 0xe1},  {"ccedil", 0xe7},   {"ntilde", 0xf1},
    {"AMP", '&'},      {"LT", '<'},       {"GT", '>'},       {"QUOT", '"'}};

// Appends the character of "#65" or "#x41".
void append_number(std::string_view digits, std::string* out) {
  const bool hexadecimal = digits.starts_with('x') || digits.starts_with('X');
  if (hexadecimal) digits.remove_prefix(1);
  std::uint32_t code = 0;
  const auto parsed =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, hexadecimal ? 16 : 10);
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  const bool fits = parsed.ec == std::errc() && code != 0 && code <= 0x10ffff && !surrogate;
  append_utf8(fits ? static_cast<char32_t>(code) : 0xfffd, out);
}

Result<std::string> without_entities(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t at = std::min(text.find('&'), text.size());
    out += text.substr(0, at);
    text.remove_prefix(at);
    if (text.empty()) break;
    std::size_t end = 1;
    const bool number = text.size() > 1 && text[1] == '#';
    if (number) ++end;
    while (end < text.size() && is_alphanumeric(text[end])) ++end;
    const std::string_view name = text.substr(1, end - 1);
    const bool closed = end < text.size() && text[end] == ';';
    if (number && name.size() > 1 && closed) {
      append_number(name.substr(1), &out);
      text.remove_prefix(end + 1);
      continue;
    }
    const auto* known = std::find_if(std::begin(kEntities), std::end(kEntities),
                                     [&](const auto& one) { return one.first == name; });
    if (known != std::end(kEntities) && closed) {
      append_utf8(known->second, &out);
      text.remove_prefix(end + 1);
      continue;
    }
    if (closed && !name.empty() && !number) {
      return Status(Code::kBadData,
                    "'striptags' does not know the entity " + in_quotes(text.substr(0, end + 1)));
    }
    out += '&';
    text.remove_prefix(1);
  }
  return out;
}

// Removes everything from `open` to `close`, as often as both occur.
std::string without(std::string text, std::string_view open, std::string_view close) {
  std::string out;
  std::size_t at = 0;
  for (;;) {
    const std::size_t begin = text.find(open, at);
    const std::size_t end = begin == std::string::npos ? begin : text.find(close, begin);
    if (end == std::string::npos) return out + text.substr(at);
    out.append(text, at, begin - at);
    at = end + close.size();
  }
}

}  // namespace

Result<std::string> without_tags(std::string_view text) {
  const std::string plain = without(without(std::string(text), "<!--", "-->"), "<", ">");
  std::string out;
  for (const Value& word : split_at_white_space(plain, -1)) {
    if (!out.empty()) out += ' ';
    out += *word.string();
  }
  return without_entities(out);
}

}  // namespace troupe::model::jinja
