#include <algorithm>
#include <charconv>
#include <cmath>

#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

constexpr int kDepthMax = 64;

Status too_large() {
  return Status(Code::kResourceExhausted,
                "a value is too large or too deeply nested to be printed");
}

// Returns Python's repr of a float: the shortest digits that read back as it, with ".0" if it is
// integral.
std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double magnitude = std::fabs(value);
  const bool fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto format = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  if (fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void append_hex(std::uint32_t value, int digits, std::string* out) {
  for (int i = digits - 1; i >= 0; --i) *out += "0123456789abcdef"[(value >> (4 * i)) & 15];
}

void append_python_escape(char32_t code_point, std::string* out) {
  if (code_point == '\n') {
    *out += "\\n";
  } else if (code_point == '\r') {
    *out += "\\r";
  } else if (code_point == '\t') {
    *out += "\\t";
  } else {
    const int digits = code_point < 0x100 ? 2 : code_point < 0x10000 ? 4 : 8;
    (*out += '\\') += digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
    append_hex(code_point, digits, out);
  }
}

std::string python_quoted(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    const std::string_view bytes = text.substr(0, next.bytes);
    if (next.state == Utf8State::kWhole && !is_printable(next.code_point)) {
      append_python_escape(next.code_point, &out);
    } else {
      if (bytes[0] == quote || bytes[0] == '\\') out += '\\';
      out += bytes;
    }
    text.remove_prefix(next.bytes);
  }
  return out += quote;
}

// Appends \u escapes of UTF-16.
void append_json_escape(char32_t code_point, std::string* out) {
  if (code_point >= 0x10000) {
    append_json_escape(0xd800 + ((code_point - 0x10000) >> 10), out);
    append_json_escape(0xdc00 + ((code_point - 0x10000) & 0x3ff), out);
    return;
  }
  *out += "\\u";
  append_hex(code_point, 4, out);
}

std::string json_quoted(std::string_view text, bool ascii) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f";
  static constexpr std::string_view kNames = "\"\\nrtbf";
  std::string out = "\"";
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    const bool whole = next.state == Utf8State::kWhole;
    if (const std::size_t found = kEscaped.find(text[0]); found != std::string_view::npos) {
      (out += '\\') += kNames[found];
    } else if (whole && (next.code_point < 0x20 || (ascii && next.code_point >= 0x7f))) {
      append_json_escape(next.code_point, &out);
    } else {
      out += text.substr(0, next.bytes);
    }
    text.remove_prefix(next.bytes);
  }
  return out += '"';
}

// Prints nested values in either of the two notations.
class Printer {
 public:
  // A null `json` selects Python's notation.
  Printer(const JsonStyle* json, std::size_t bytes_max) : json_(json), bytes_max_(bytes_max) {}

  Status print(const Value& value, int depth) {
    if (depth > kDepthMax || out_.size() > bytes_max_) return too_large();
    if (const auto* boolean = value.boolean()) {
      out_ += json_ != nullptr ? (*boolean ? "true" : "false") : (*boolean ? "True" : "False");
    } else if (const auto* integer = value.integer()) {
      out_ += std::to_string(*integer);
    } else if (const auto* real = value.real()) {
      out_ += real_text(*real);
    } else if (const auto* string = value.string()) {
      out_ += quoted(*string);
    } else if (value.is_none()) {
      out_ += json_ != nullptr ? "null" : "None";
    } else if (const auto* list = value.list()) {
      return print_list(*list, depth);
    } else if (const auto* dict = value.dict()) {
      return print_dict(*dict, depth);
    } else if (json_ != nullptr) {
      return Status(Code::kBadData,
                    "a value of type " + std::string(type_name(value)) + " has no JSON notation");
    } else {
      out_ += value.is_undefined() ? "Undefined" : "<" + std::string(type_name(value)) + ">";
    }
    return Status::ok();
  }

  std::string take() { return std::move(out_); }

 private:
  std::string quoted(const std::string& text) const {
    return json_ != nullptr ? json_quoted(text, json_->ascii) : python_quoted(text);
  }
  void separate(bool first, int depth) {
    if (!first) out_ += json_ != nullptr ? json_->item_separator : ", ";
    new_line(depth + 1);
  }
  void new_line(int depth) {
    if (json_ == nullptr || json_->indent < 0) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(json_->indent * depth), ' ');
  }

  Status print_list(const List& list, int depth) {
    out_ += '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      separate(i == 0, depth);
      TROUPE_RETURN_IF_ERROR(print(list[i], depth + 1));
    }
    if (!list.empty()) new_line(depth);
    out_ += ']';
    return Status::ok();
  }

  Status print_dict(const Dict& dict, int depth) {
    std::vector<const Dict::value_type*> entries;
    for (const auto& entry : dict) entries.push_back(&entry);
    if (json_ != nullptr && json_->sort_keys) {
      std::sort(entries.begin(), entries.end(),
                [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      separate(i == 0, depth);
      out_ += quoted(entries[i]->first);
      out_ += json_ != nullptr ? json_->key_separator : ": ";
      TROUPE_RETURN_IF_ERROR(print(entries[i]->second, depth + 1));
    }
    if (!dict.empty()) new_line(depth);
    out_ += '}';
    return Status::ok();
  }

  const JsonStyle* json_;
  std::size_t bytes_max_;
  std::string out_;
};

}  // namespace

Result<std::string> to_text(const Value& value, std::size_t bytes_max) {
  if (const auto* string = value.string()) return *string;
  if (value.is_undefined()) return std::string();
  Printer printer(nullptr, bytes_max);
  TROUPE_RETURN_IF_ERROR(printer.print(value, 0));
  return printer.take();
}

Result<std::string> to_json(const Value& value, const JsonStyle& style, std::size_t bytes_max) {
  Printer printer(&style, bytes_max);
  TROUPE_RETURN_IF_ERROR(printer.print(value, 0));
  return printer.take();
}

}  // namespace troupe::model::jinja
