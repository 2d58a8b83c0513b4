#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <troupe/model/jinja/format_numbers.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

bool read_count(std::string_view* text, std::int64_t* out) {
  constexpr std::int64_t kMax = 100'000'000;
  bool any = false;
  std::int64_t value = 0;
  while (!text->empty() && (*text)[0] >= '0' && (*text)[0] <= '9') {
    value = std::min(kMax, value * 10 + ((*text)[0] - '0'));
    text->remove_prefix(1);
    any = true;
  }
  if (any) *out = value;
  return any;
}

// Returns what printf makes of a number.
std::string printed(const char* format, int precision, double value) {
  std::vector<char> buffer(64);
  for (;;) {
    const int bytes = std::snprintf(buffer.data(), buffer.size(), format, precision, value);
    if (bytes < static_cast<int>(buffer.size())) {
      return std::string(buffer.data(), static_cast<std::size_t>(std::max(bytes, 0)));
    }
    buffer.resize(static_cast<std::size_t>(bytes) + 1);
  }
}

// Puts the separator between the digits before the point.
std::string grouped(const std::string& digits, char separator, std::size_t size) {
  if (separator == '\0') return digits;
  std::size_t end = 0;
  while (end < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[end])) != 0 &&
         (size == 4 || (digits[end] >= '0' && digits[end] <= '9'))) {
    ++end;
  }
  std::string out;
  for (std::size_t i = 0; i < end; ++i) {
    if (i > 0 && (end - i) % size == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(end);
}

void strip_zeros(std::string* text) {
  if (text->find('.') == std::string::npos) return;
  while (text->back() == '0') text->pop_back();
  if (text->back() == '.') text->pop_back();
}

// Formats a number without a type: with the shortest digits that read back as the number, or, with
// a precision, as 'g' with at least one digit after the point.
std::string general(double magnitude, std::int64_t precision) {
  if (precision < 0) return real_text(magnitude);
  const int digits = std::max<int>(static_cast<int>(precision), 1);
  const std::string exact = printed("%.*e", digits - 1, magnitude);
  const std::size_t e = exact.find('e');
  const int exponent = std::atoi(exact.c_str() + e + 1);
  if (exponent < -4 || exponent >= digits - 1) {
    std::string mantissa = exact.substr(0, e);
    strip_zeros(&mantissa);
    return mantissa + exact.substr(e);
  }
  std::string fixed = printed("%.*f", std::max(digits - 1 - exponent, 0), magnitude);
  strip_zeros(&fixed);
  return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

}  // namespace

bool parse_format_spec(std::string_view text, FormatSpec* out) {
  if (!text.empty()) {
    const std::size_t first = utf8_char(text).bytes;
    if (text.size() > first && is_align(text[first])) {
      out->fill = std::string(text.substr(0, first));
      out->align = text[first];
      text.remove_prefix(first + 1);
    } else if (is_align(text[0])) {
      out->align = text[0];
      text.remove_prefix(1);
    }
  }
  const auto take = [&](std::string_view set) {
    if (text.empty() || set.find(text[0]) == std::string_view::npos) return '\0';
    const char found = text[0];
    text.remove_prefix(1);
    return found;
  };
  if (const char sign = take("+- ")) out->sign = sign;
  take("z");
  out->alternate = take("#") != '\0';
  if (!text.empty() && text[0] == '0' && out->align == '\0') {
    out->fill = "0";
    out->align = '=';
  }
  read_count(&text, &out->width);
  out->grouping = take(",_");
  if (take(".") != '\0' && !read_count(&text, &out->precision)) return false;
  if (!text.empty()) {
    out->type = text[0];
    text.remove_prefix(1);
  }
  return text.empty();
}

std::string format_real(double value, const FormatSpec& spec, std::string* lead) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  *lead = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  const double magnitude = std::fabs(value);
  if (!std::isfinite(value)) {
    std::string word = std::isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    return spec.type == '%' ? word + "%" : word;
  }
  constexpr std::int64_t kPrecisionMax = 5000;
  const int precision =
      spec.precision < 0 ? 6 : static_cast<int>(std::min(spec.precision, kPrecisionMax));
  std::string digits;
  switch (spec.type) {
    case 'e':
    case 'E':
      digits = printed(upper ? "%.*E" : "%.*e", precision, magnitude);
      break;
    case 'f':
    case 'F':
      digits = printed(spec.alternate ? "%#.*f" : "%.*f", precision, magnitude);
      break;
    case '%':
      digits = printed("%.*f", precision, magnitude * 100) + "%";
      break;
    case 'g':
    case 'G':
    case 'n':
      digits = printed(upper            ? (spec.alternate ? "%#.*G" : "%.*G")
                       : spec.alternate ? "%#.*g"
                                        : "%.*g",
                       precision, magnitude);
      break;
    default:
      digits = general(magnitude, spec.precision < 0 ? -1 : precision);
  }
  return grouped(digits, spec.grouping, 3);
}

std::string format_whole(const BigInteger& value, const FormatSpec& spec, std::string* lead) {
  *lead = value.is_negative() ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  const BigInteger magnitude = value.is_negative() ? -value : value;
  const char type = spec.type;
  const unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  std::string digits = magnitude.to_string(base);
  if (type == 'X') digits = upper(digits);
  if (spec.alternate && base != 10) (*lead += '0') += type;
  return grouped(digits, spec.grouping, base == 10 ? 3 : 4);
}

std::string padded(const std::string& lead, const std::string& body, const FormatSpec& spec,
                   char align) {
  const std::string whole = lead + body;
  const std::int64_t has = character_index(whole, std::string::npos);
  if (spec.align != '\0') align = spec.align;
  if (has >= spec.width) return whole;
  const std::int64_t margin = spec.width - has;
  const auto fill = [&](std::int64_t count) {
    std::string out;
    for (std::int64_t i = 0; i < count; ++i) out += spec.fill;
    return out;
  };
  if (align == '=') {
    if (spec.grouping == '\0' || spec.fill != "0") return lead + fill(margin) + body;
    // Zeros are grouped with the digits, and no separator comes first.
    std::string plain = body;
    const std::size_t point = plain.find_first_of(".e%");
    const std::string rest = point == std::string::npos ? "" : plain.substr(point);
    plain = plain.substr(0, point);
    const bool wide = spec.type == 'b' || spec.type == 'o' || spec.type == 'x' || spec.type == 'X';
    const std::size_t size = wide ? 4 : 3;
    std::erase(plain, spec.grouping);
    std::string filled = plain;
    while (static_cast<std::int64_t>(lead.size() + grouped(filled, spec.grouping, size).size() +
                                     rest.size()) < spec.width) {
      filled.insert(0, "0");
    }
    return lead + grouped(filled, spec.grouping, size) + rest;
  }
  const std::int64_t left = align == '<' ? 0 : align == '>' ? margin : margin / 2;
  return fill(left) + whole + fill(margin - left);
}

}  // namespace troupe::model::jinja
