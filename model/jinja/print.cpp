#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include <troupe/model/jinja/ast.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

Status too_large() {
  return Status(Code::kResourceExhausted,
                "a value is too large or too deeply nested to be printed");
}

Status no_notation(const std::string& what, const Value& value) {
  return Status(Code::kBadData,
                what + " of type " + std::string(type_name(value)) + " has no JSON notation");
}

}  // namespace

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

namespace {

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

std::string python_quoted(std::string_view text, bool ascii) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const Utf8Char next = utf8_char(text);
    const std::string_view bytes = text.substr(0, next.bytes);
    const bool shown = is_printable(next.code_point) && (!ascii || next.code_point < 0x80);
    if (next.state == Utf8State::kWhole && !shown) {
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
  Printer(const JsonStyle* json, std::size_t bytes_max, bool ascii = false)
      : json_(json), bytes_max_(bytes_max), ascii_(ascii) {}

  Status print(const Value& value, int depth) {
    if (depth > kNestedMax || out_.size() > bytes_max_) return too_large();
    if (const auto* string = value.text()) {
      const bool markup = string->markup && json_ == nullptr;
      out_ += markup ? "Markup(" + quoted(string->text) + ")" : quoted(string->text);
    } else if (value.list() != nullptr) {
      if (is_open(value.list())) return append("[...]");
      open_.push_back(value.list());
      const Status printed = print_list(value, depth);
      open_.pop_back();
      return printed;
    } else if (const auto* dict = value.dict()) {
      if (is_open(dict)) return append("{...}");
      open_.push_back(dict);
      const Status printed = print_dict(*dict, depth);
      open_.pop_back();
      return printed;
    } else if (const std::string plain = scalar(value); !plain.empty()) {
      out_ += plain;
    } else if (json_ != nullptr) {
      return no_notation("a value", value);
    } else if (value.name_space() != nullptr) {
      if (is_open(value.name_space())) return append("<Namespace {...}>");
      open_.push_back(value.name_space());
      ++namespaces_;
      out_ += "<Namespace ";
      const Status printed = print_names(value.name_space()->attributes, depth);
      open_.pop_back();
      --namespaces_;
      out_ += '>';
      return printed;
    } else {
      out_ += object_text(value);
    }
    return Status::ok();
  }

  std::string take() { return std::move(out_); }

 private:
  Status append(std::string_view text) {
    out_ += text;
    return Status::ok();
  }

  // Says whether the value is being printed already: only a namespace can hold itself.
  bool is_open(const void* value) const {
    return namespaces_ > 0 && std::find(open_.begin(), open_.end(), value) != open_.end();
  }

  std::string quoted(const std::string& text) const {
    return json_ != nullptr ? json_quoted(text, json_->ascii) : python_quoted(text, ascii_);
  }

  // Returns "" for a value that is not a number, a truth value or none.
  std::string scalar(const Value& value) const {
    const bool json = json_ != nullptr;
    if (const auto* boolean = value.boolean()) {
      return json ? (*boolean ? "true" : "false") : (*boolean ? "True" : "False");
    }
    if (const auto* integer = value.integer()) return std::to_string(*integer);
    if (const auto* big = value.big()) return big->to_string();
    if (value.is_none()) return json ? "null" : "None";
    if (const auto* real = value.real()) {
      if (!json || std::isfinite(*real)) return real_text(*real);
      return std::isnan(*real) ? "NaN" : *real < 0 ? "-Infinity" : "Infinity";
    }
    return {};
  }

  static std::string object_text(const Value& value) {
    if (value.is_undefined()) return "Undefined";
    if (const Range* range = value.range()) {
      std::string text =
          "range(" + std::to_string(range->begin) + ", " + std::to_string(range->end);
      if (range->step != 1) text += ", " + std::to_string(range->step);
      return text + ")";
    }
    if (value.is(Object::Kind::kLoop)) {
      const Object& loop = *value.object();
      return "<LoopContext " + std::to_string(loop.at + 1) + "/" +
             std::to_string(loop.items.size()) + ">";
    }
    if (value.callable() != nullptr && value.callable()->macro != nullptr) {
      return "<Macro " + python_quoted(value.callable()->macro->name, false) + ">";
    }
    return "<" + std::string(type_name(value)) + " object>";
  }

  void separate(bool first, int depth) {
    if (!first) out_ += json_ != nullptr ? json_->item_separator : ", ";
    new_line(depth + 1);
  }
  void new_line(int depth) {
    if (json_ == nullptr || !json_->lines) return;
    out_ += '\n';
    for (int i = 0; i < depth; ++i) out_ += json_->indent;
  }

  Status print_list(const Value& value, int depth) {
    const List& list = *value.list();
    const bool python = json_ == nullptr;
    if (!python && !value.is_indexed()) return no_notation("a value", value);
    const bool tuple = python && value.is_tuple();
    const bool view = !value.is_indexed();
    if (view) (out_ += type_name(value)) += '(';
    out_ += tuple ? '(' : '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      separate(i == 0, depth);
      TROUPE_RETURN_IF_ERROR(print(list[i], depth + 1));
    }
    if (tuple && list.size() == 1) out_ += ',';
    if (!list.empty()) new_line(depth);
    out_ += tuple ? ')' : ']';
    if (view) out_ += ')';
    return Status::ok();
  }

  // Prints a key. A key of JSON is a text: other simple values are written as one.
  Status print_key(const Value& key, int depth) {
    if (json_ == nullptr) return print(key, depth);
    const std::string text = key.string() != nullptr ? *key.string() : scalar(key);
    if (key.string() == nullptr && text.empty()) return no_notation("a key", key);
    out_ += quoted(text);
    return Status::ok();
  }

  Status print_entry(bool first, int depth, const Value& key, const Value& value) {
    separate(first, depth);
    TROUPE_RETURN_IF_ERROR(print_key(key, depth + 1));
    out_ += json_ != nullptr ? json_->key_separator : ": ";
    return print(value, depth + 1);
  }

  Status print_dict(const Dict& dict, int depth) {
    std::vector<const Dict::value_type*> entries;
    for (const auto& entry : dict) entries.push_back(&entry);
    if (json_ != nullptr && json_->sort_keys) {
      Status status;
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        const Value &left = a->first, &right = b->first;
        if (left.string() != nullptr && right.string() != nullptr) {
          return *left.string() < *right.string();
        }
        const int order = compare_numbers(left, right);
        if (order == 2) status = Status(Code::kBadData, "keys of several types have no order");
        return order == -1;
      });
      TROUPE_RETURN_IF_ERROR(status);
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      TROUPE_RETURN_IF_ERROR(print_entry(i == 0, depth, entries[i]->first, entries[i]->second));
    }
    if (!dict.empty()) new_line(depth);
    out_ += '}';
    return Status::ok();
  }

  Status print_names(const Names& names, int depth) {
    out_ += '{';
    for (std::size_t i = 0; i < names.size(); ++i) {
      TROUPE_RETURN_IF_ERROR(print_entry(i == 0, depth, Value(names[i].first), names[i].second));
    }
    out_ += '}';
    return Status::ok();
  }

  const JsonStyle* json_;
  std::size_t bytes_max_;
  bool ascii_;
  std::vector<const void*> open_;
  int namespaces_ = 0;  // of open_
  std::string out_;
};

}  // namespace

Result<std::string> to_text(const Value& value, std::size_t bytes_max) {
  if (const auto* string = value.string()) return *string;
  if (value.is_undefined()) return std::string();
  return to_repr(value, bytes_max);
}

Result<std::string> to_repr(const Value& value, std::size_t bytes_max, bool ascii) {
  Printer printer(nullptr, bytes_max, ascii);
  TROUPE_RETURN_IF_ERROR(printer.print(value, 0));
  return printer.take();
}

Result<std::string> to_json(const Value& value, const JsonStyle& style, std::size_t bytes_max) {
  Printer printer(&style, bytes_max);
  TROUPE_RETURN_IF_ERROR(printer.print(value, 0));
  return printer.take();
}

}  // namespace troupe::model::jinja
