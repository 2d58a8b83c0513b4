#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <unordered_set>
#include <vector>

#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/known_files.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe {
namespace {

using nlohmann::json;

// Returns the index of the byte at which brackets are nested deeper than `depth_max`, or
// text.size().
std::size_t too_deep_at(std::string_view text, std::size_t depth_max) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > depth_max) return i;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return text.size();
}

// Finds keys that occur twice in one object, and errors; builds nothing. (A callback of json::parse
// could do the same, but then every object's end would cost a search of its parent.)
class Watch final : public nlohmann::json_sax<json> {
 public:
  std::string repeated;       // the first key that occurs twice
  bool broken = false;        // at error_byte
  bool out_of_range = false;  // a number is out of range
  std::size_t error_byte = 0;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool start_object(std::size_t) override {
    open_.emplace_back();
    return true;
  }
  bool end_object() override {
    open_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (repeated.empty() && !open_.back().insert(name).second) repeated = name;
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&,
                   const nlohmann::detail::exception& error) override {
    constexpr int kParseErrors = 100, kOtherErrors = 200;  // the numbers of the library's errors
    broken = true;
    out_of_range = error.id < kParseErrors || error.id >= kOtherErrors;
    error_byte = byte;
    return false;
  }

 private:
  std::vector<std::unordered_set<std::string>> open_;  // the keys of every object that is open
};

}  // namespace

Status check_json_depth(std::string_view text, const std::string& what, const JsonLimits& limits) {
  const std::size_t deep = too_deep_at(text, limits.depth_max);
  if (deep == text.size()) return Status::ok();
  return Status(Code::kBadData, what + " is nested more than " + std::to_string(limits.depth_max) +
                                    " deep at byte " + std::to_string(deep) + "; " + limits.advice);
}

namespace {

bool is_number_character(char c) {
  return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

// True if a JSON number is too large for a double.
bool overflows(std::string_view number) {
  const std::string text(number);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size() && std::isinf(value);
}

// Returns the text with quotes around the numbers that Python writes and JSON does not have.
std::string with_python_numbers_quoted(std::string_view text) {
  static constexpr std::string_view kWords[] = {"NaN", "Infinity", "-Infinity"};
  std::string out;
  out.reserve(text.size() + 16);
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '"') {
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
      out += text.substr(i, end - i);
      i = end;
      continue;
    }
    const std::string_view rest = text.substr(i);
    std::size_t bytes = 0;
    for (const std::string_view word : kWords) {
      if (rest.starts_with(word)) bytes = word.size();
    }
    const bool word = bytes > 0;
    while (!word && bytes < rest.size() && is_number_character(rest[bytes])) ++bytes;
    if (word || overflows(rest.substr(0, bytes))) {
      ((out += '"') += rest.substr(0, bytes)) += '"';
    } else {
      out += rest.substr(0, bytes == 0 ? 1 : bytes);
    }
    i += bytes == 0 ? 1 : bytes;
  }
  return out;
}

}  // namespace

Status check_json(std::string_view text, const std::string& what, const JsonLimits& limits) {
  const auto bad = [&](const std::string& sentence) {
    return Status(Code::kBadData, what + " " + sentence);
  };
  const std::string advice = std::string("; ") + limits.advice;
  if (text.size() > limits.bytes_max)
    return bad("has " + std::to_string(text.size()) + " bytes, more than the limit of " +
               std::to_string(limits.bytes_max));
  TROUPE_RETURN_IF_ERROR(check_json_depth(text, what, limits));
  Watch watch;
  json::sax_parse(text.begin(), text.end(), &watch);
  if (watch.out_of_range) return bad("holds a number that is out of range" + advice);
  const std::string known = watch.broken ? describe_known_file(text.substr(0, 256)) : "";
  // If a text begins like JSON, say where it stops being JSON.
  if (!known.empty() && text.find_first_of("{[") > text.find_first_not_of(" \t\r\n"))
    return bad(known);
  if (watch.broken) return bad("is not JSON at byte " + std::to_string(watch.error_byte) + advice);
  if (!watch.repeated.empty() && !limits.python)
    return bad("has the key " + in_quotes(watch.repeated) + " twice" + advice);
  return Status::ok();
}

namespace {

template <class Json>
Result<Json> parse_as(std::string_view text, const std::string& what, const JsonLimits& limits) {
  std::string quoted;
  if (limits.python && text.size() <= limits.bytes_max) {
    quoted = with_python_numbers_quoted(text);
    text = quoted;
  }
  TROUPE_RETURN_IF_ERROR(check_json(text, what, limits));
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace

Result<json> parse_json(std::string_view text, const std::string& what, const JsonLimits& limits) {
  return parse_as<json>(text, what, limits);
}

Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, const std::string& what,
                                                  const JsonLimits& limits) {
  return parse_as<nlohmann::ordered_json>(text, what, limits);
}

}  // namespace troupe
