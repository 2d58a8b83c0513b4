#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/html.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/text/utf8.h>

// Filters for HTML and web addresses, and sizes of files.

namespace troupe::model::jinja {
namespace {

Result<Value> strip_tags(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  const Result<std::string> plain = without_tags(text);
  if (!plain.is_ok()) return template_error(use.line, plain.message());
  return counted(use.budget, use.line, *plain);
}

std::string quoted_for_url(std::string_view text, bool for_query) {
  static constexpr std::string_view kSafe = "_.-~";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_alphanumeric(c) || kSafe.find(c) != std::string_view::npos || (c == '/' && !for_query)) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      char buffer[4];
      std::snprintf(buffer, sizeof buffer, "%%%02X", byte);
      out += buffer;
    }
  }
  return out;
}

Result<Value> url_encode(const Use& use) {
  const Value& input = use.input;
  const bool simple =
      input.string() != nullptr ||
      (input.list() == nullptr && input.dict() == nullptr && !input.is(Object::Kind::kIterator));
  if (simple && !input.is_undefined()) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, input));
    return counted(use.budget, use.line, quoted_for_url(text, false));
  }
  List pairs;
  if (input.dict() != nullptr) {
    pairs = dict_items(*input.dict());
  } else {
    TROUPE_ASSIGN_OR_RETURN(pairs, iterate(use.budget, use.line, input));
  }
  std::string out;
  for (const Value& pair : pairs) {
    TROUPE_ASSIGN_OR_RETURN(const List parts, iterate(use.budget, use.line, pair));
    if (parts.size() != 2) return template_error(use.line, "'urlencode' takes pairs");
    TROUPE_ASSIGN_OR_RETURN(const std::string key, text_of(use.line, parts[0]));
    TROUPE_ASSIGN_OR_RETURN(const std::string value, text_of(use.line, parts[1]));
    if (!out.empty()) out += '&';
    out += quoted_for_url(key, true) + "=" + quoted_for_url(value, true);
  }
  return counted(use.budget, use.line, std::move(out));
}

// Writes a dict as the attributes of a tag, without those that are none or undefined.
Result<Value> xml_attributes(const Use& use) {
  if (use.input.dict() == nullptr) return wrong_type(use.line, "writing attributes", use.input);
  std::string out;
  for (const auto& [key, value] : *use.input.dict()) {
    if (value.is_none() || value.is_undefined()) continue;
    TROUPE_ASSIGN_OR_RETURN(const std::string name, text_of(use.line, key));
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      return template_error(use.line, in_quotes(name) + " cannot be the name of an attribute");
    }
    TROUPE_ASSIGN_OR_RETURN(const Text name_text, escaped(use.line, key));
    TROUPE_ASSIGN_OR_RETURN(const Text value_text, escaped(use.line, value));
    if (!out.empty()) out += ' ';
    out += name_text.text + "=\"" + value_text.text + "\"";
  }
  if (use.flag(0, "autospace", true) && !out.empty()) out.insert(0, " ");
  return counted(use.budget, use.line, std::move(out));
}

Result<Value> file_size(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(use.line, use.input));
  double bytes = 0;
  if (use.input.string() != nullptr) {
    char* end = nullptr;
    bytes = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') return wrong_type(use.line, "a size in bytes", use.input);
  } else if (!to_number(use.input, &bytes)) {
    return wrong_type(use.line, "a size in bytes", use.input);
  }
  const bool binary = use.flag(0, "binary");
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value(std::string("1 Byte"));
  if (bytes < base) {
    return Value(std::to_string(static_cast<std::int64_t>(bytes)) + " Bytes");
  }
  static constexpr std::array<std::string_view, 8> kNames = {"k", "M", "G", "T",
                                                             "P", "E", "Z", "Y"};
  double unit = base;
  std::size_t i = 0;
  for (; i + 1 < kNames.size() && bytes >= unit * base; ++i) unit *= base;
  char number[64];
  std::snprintf(number, sizeof number, "%.1f ", base * bytes / (unit * base));
  std::string name(kNames[i]);
  if (binary && name == "k") name = "K";
  return Value(number + name + (binary ? "iB" : "B"));
}

constexpr Row kWebFilters[] = {
    {"striptags", "", strip_tags},
    {"urlencode", "", url_encode},
    {"xmlattr", "autospace", xml_attributes},
    {"filesizeformat", "binary", file_size},
};

}  // namespace

std::span<const Row> web_filters() { return kWebFilters; }

}  // namespace troupe::model::jinja
