#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/format.h>
#include <troupe/model/jinja/format_numbers.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

constexpr std::int64_t kWidthMax = std::int64_t{1} << 20;

Status bad_format(int line, const std::string& what) {
  return template_error(line, "a format cannot be used: " + what);
}

// Returns what %r or !r writes.
Result<std::string> representation(int line, const Value& value, bool ascii) {
  Result<std::string> text = to_repr(value, Budget::kTextBytesMax, ascii);
  return text.is_ok() ? std::move(text) : template_error(line, text.message(), text.code());
}

// Returns the whole text if the count is negative.
std::string first_characters(const std::string& text, std::int64_t count) {
  return count < 0 ? text : text.substr(0, byte_index(text, count));
}

// A text that is made of parts. A part whose bytes are foreign makes the whole foreign, because the
// parts are padded and cut.
class Output {
 public:
  Output(Budget* budget, int line, bool markup) : budget_(budget), line_(line), markup_(markup) {}
  Status append(std::string_view text) {
    TROUPE_RETURN_IF_ERROR(budget_->take(line_, text.size()));
    out_.text += text;
    return Status::ok();
  }
  // Appends the text that a value has become.
  Status append_value(const Value& value, const std::string& text, bool foreign = false) {
    Text part{markup_ && !value.is_markup() ? escape_html(text) : text, {}, false};
    TROUPE_RETURN_IF_ERROR(budget_->take(line_, part.text.size()));
    foreign = foreign || value.is_foreign();
    if (foreign && !part.text.empty()) part.foreign.push_back({0, part.text.size()});
    out_.append(part);
    return Status::ok();
  }
  Value take() {
    out_.markup = markup_;
    return Value(std::move(out_));
  }

 private:
  Budget* budget_;
  int line_;
  bool markup_;
  Text out_;
};

// The conversion of "%(key)#0*.*d".
struct Conversion {
  FormatSpec spec;
  bool left = false, zero = false;
};

class Percent {
 public:
  Percent(Budget* budget, int line, const Value& format, const Value& arguments)
      : budget_(budget),
        line_(line),
        in_(*format.string()),
        arguments_(arguments),
        out_(budget, line, format.is_markup()) {}

  Result<Value> run() {
    while (!in_.empty()) {
      const std::size_t at = std::min(in_.find('%'), in_.size());
      TROUPE_RETURN_IF_ERROR(out_.append(in_.substr(0, at)));
      in_.remove_prefix(at);
      if (in_.empty()) break;
      in_.remove_prefix(1);
      TROUPE_RETURN_IF_ERROR(convert());
    }
    const bool single = !arguments_.is_tuple();
    const bool mapping = arguments_.dict() != nullptr || (single && arguments_.list() != nullptr) ||
                         arguments_.range() != nullptr || arguments_.is_undefined();
    const std::size_t count = single ? 1 : arguments_.list()->size();
    if (next_ < count && !mapping && !(single && used_keys_)) {
      return bad_format(line_, "it has fewer places than values");
    }
    return out_.take();
  }

 private:
  Result<Value> next_value() {
    if (arguments_.is_tuple()) {
      if (next_ == arguments_.list()->size()) {
        return bad_format(line_, "it has more places than values");
      }
      return (*arguments_.list())[next_++];
    }
    if (next_++ > 0) return bad_format(line_, "it has more places than values");
    return arguments_;
  }

  Status read_count(std::int64_t* out, bool* negative) {
    if (in_.starts_with('*')) {
      in_.remove_prefix(1);
      TROUPE_ASSIGN_OR_RETURN(const Value value, next_value());
      if (!to_integer(value, out)) return bad_format(line_, "'*' takes an integer");
      *negative = *out < 0;
      *out = std::min(std::abs(std::max(*out, -kWidthMax)), kWidthMax);
      return Status::ok();
    }
    while (!in_.empty() && in_[0] >= '0' && in_[0] <= '9') {
      *out = std::min(kWidthMax, *out * 10 + (in_[0] - '0'));
      in_.remove_prefix(1);
    }
    return Status::ok();
  }

  Status convert() {
    if (in_.starts_with('%')) {
      in_.remove_prefix(1);
      return out_.append("%");
    }
    std::optional<Value> keyed;
    if (in_.starts_with('(')) {
      const std::size_t end = in_.find(')');
      if (end == std::string_view::npos) return bad_format(line_, "'%(' has no end");
      const std::string key(in_.substr(1, end - 1));
      in_.remove_prefix(end + 1);
      if (arguments_.dict() == nullptr) return bad_format(line_, "'%(' needs a dict of values");
      const Value* found = find_text(*arguments_.dict(), key);
      if (found == nullptr) return bad_format(line_, "there is no value " + in_quotes(key));
      keyed = *found;
      used_keys_ = true;
    }
    Conversion one;
    while (!in_.empty() && std::string_view("#0- +").find(in_[0]) != std::string_view::npos) {
      const char flag = in_[0];
      in_.remove_prefix(1);
      if (flag == '#') one.spec.alternate = true;
      if (flag == '0') one.zero = true;
      if (flag == '-') one.left = true;
      if (flag == '+' || (flag == ' ' && one.spec.sign != '+')) one.spec.sign = flag;
    }
    bool negative = false;
    TROUPE_RETURN_IF_ERROR(read_count(&one.spec.width, &negative));
    one.left = one.left || negative;
    if (in_.starts_with('.')) {
      in_.remove_prefix(1);
      one.spec.precision = 0;
      negative = false;
      TROUPE_RETURN_IF_ERROR(read_count(&one.spec.precision, &negative));
      if (negative) one.spec.precision = 0;
    }
    while (!in_.empty() && std::string_view("hlL").find(in_[0]) != std::string_view::npos) {
      in_.remove_prefix(1);
    }
    if (in_.empty()) return bad_format(line_, "it ends after '%'");
    one.spec.type = in_[0];
    in_.remove_prefix(1);
    Value value;
    if (keyed) {
      value = *keyed;
    } else {
      TROUPE_ASSIGN_OR_RETURN(value, next_value());
    }
    return write(one, value);
  }

  Status write(Conversion one, const Value& value) {
    TROUPE_RETURN_IF_ERROR(budget_->take(line_, static_cast<std::size_t>(one.spec.width)));
    std::string lead, body;
    const char type = one.spec.type;
    const bool number = std::string_view("diuoxXeEfFgG").find(type) != std::string_view::npos;
    if (type == 's') {
      TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line_, value));
      body = first_characters(text, one.spec.precision);
    } else if (type == 'r' || type == 'a') {
      TROUPE_ASSIGN_OR_RETURN(const std::string text, representation(line_, value, type == 'a'));
      body = first_characters(text, one.spec.precision);
    } else if (type == 'c') {
      TROUPE_ASSIGN_OR_RETURN(body, character(value));
    } else if (number) {
      TROUPE_ASSIGN_OR_RETURN(body, digits(&one, value, &lead));
    } else {
      return bad_format(line_, "'%" + std::string(1, type) + "' is not known");
    }
    one.spec.align = one.left ? '<' : one.zero && number ? '=' : '>';
    if (one.spec.align == '=') one.spec.fill = "0";
    return out_.append_value(value, padded(lead, body, one.spec, '>'));
  }

  Result<std::string> character(const Value& value) {
    std::int64_t code = 0;
    std::string text;
    if (value.string() != nullptr && character_index(*value.string(), std::string::npos) == 1) {
      return *value.string();
    }
    if (!to_integer(value, &code) || code < 0 || code > 0x10ffff || (code >> 11) == 27) {
      return bad_format(line_, "'%c' takes a character");
    }
    append_utf8(static_cast<char32_t>(code), &text);
    return text;
  }

  Result<std::string> digits(Conversion* one, const Value& value, std::string* lead) {
    const char type = one->spec.type;
    double real = 0;
    if (std::string_view("eEfFgG").find(type) != std::string_view::npos) {
      if (!to_number(value, &real)) return wrong_type(line_, "formatting a number", value);
      return format_real(real, one->spec, lead);
    }
    std::optional<BigInteger> whole = whole_of(value);
    const bool decimal = type == 'd' || type == 'i' || type == 'u';
    if (!whole && decimal && value.real() != nullptr && std::isfinite(*value.real())) {
      whole = BigInteger::from_double(*value.real());
    }
    if (!whole) return wrong_type(line_, "formatting a number", value);
    if (decimal) one->spec.type = 'd';
    std::string body = format_whole(*whole, one->spec, lead);
    const auto least = static_cast<std::size_t>(std::max<std::int64_t>(one->spec.precision, 0));
    TROUPE_RETURN_IF_ERROR(budget_->take(line_, least));
    if (body.size() < least) body.insert(0, least - body.size(), '0');
    return body;
  }

  Budget* budget_;
  int line_;
  std::string_view in_;
  const Value& arguments_;
  Output out_;
  std::size_t next_ = 0;
  bool used_keys_ = false;
};

// Writes "{name!r:spec}" for str.format.
class Braces {
 public:
  Braces(Budget* budget, int line, const Arguments& arguments, const Value* names, bool markup)
      : budget_(budget), line_(line), arguments_(arguments), names_(names), markup_(markup) {}

  Result<Value> run(std::string_view in, int depth) {
    Output out(budget_, line_, markup_);
    while (!in.empty()) {
      const std::size_t at = std::min(in.find_first_of("{}"), in.size());
      TROUPE_RETURN_IF_ERROR(out.append(in.substr(0, at)));
      in.remove_prefix(at);
      if (in.empty()) break;
      if (in.size() > 1 && in[1] == in[0] && depth == 0) {
        TROUPE_RETURN_IF_ERROR(out.append(in.substr(0, 1)));
        in.remove_prefix(2);
        continue;
      }
      if (in[0] == '}') return bad_format(line_, "a '}' is alone");
      std::size_t end = 1;
      for (int open = 1; open > 0; ++end) {
        if (end == in.size()) return bad_format(line_, "a '{' has no end");
        if (in[end] == '{') ++open;
        if (in[end] == '}') --open;
      }
      TROUPE_RETURN_IF_ERROR(write(in.substr(1, end - 2), depth, &out));
      in.remove_prefix(end);
    }
    return out.take();
  }

 private:
  Status write(std::string_view field, int depth, Output* out) {
    constexpr int kNestingMax = 2;
    if (depth == kNestingMax) return bad_format(line_, "fields are nested too deeply");
    std::size_t brackets = 0, end = 0;
    for (; end < field.size(); ++end) {
      if (field[end] == '[') ++brackets;
      if (field[end] == ']' && brackets > 0) --brackets;
      if (brackets == 0 && (field[end] == '!' || field[end] == ':')) break;
    }
    TROUPE_ASSIGN_OR_RETURN(Value value, look_up(field.substr(0, end)));
    field.remove_prefix(end);
    if (field.starts_with('!')) {
      if (field.size() < 2 || (field.size() > 2 && field[2] != ':')) {
        return bad_format(line_, "after '!' comes one letter");
      }
      TROUPE_ASSIGN_OR_RETURN(value, converted(value, field[1]));
      field.remove_prefix(2);
    }
    std::string specification;
    bool foreign = false;
    if (field.starts_with(':')) {
      Braces nested(budget_, line_, arguments_, names_, false);
      nested.next_ = next_;
      TROUPE_ASSIGN_OR_RETURN(const Value made, nested.run(field.substr(1), depth + 1));
      next_ = nested.next_;
      specification = *made.string();
      foreign = made.is_foreign();
    }
    TROUPE_ASSIGN_OR_RETURN(const std::string text,
                            format_value(budget_, line_, value, specification));
    return out->append_value(value, text, foreign);
  }

  Result<Value> converted(const Value& value, char kind) {
    std::string text;
    if (kind == 's') {
      TROUPE_ASSIGN_OR_RETURN(text, text_of(line_, value));
    } else if (kind == 'r' || kind == 'a') {
      TROUPE_ASSIGN_OR_RETURN(text, representation(line_, value, kind == 'a'));
    } else {
      return bad_format(line_, "'!" + std::string(1, kind) + "' is not known");
    }
    const Value made(std::move(text));
    return value.is_foreign() ? made.as_foreign() : made;
  }

  Result<Value> look_up(std::string_view name) {
    const std::size_t end = std::min(name.find_first_of(".["), name.size());
    TROUPE_ASSIGN_OR_RETURN(Value value, first(std::string(name.substr(0, end))));
    name.remove_prefix(end);
    while (!name.empty()) {
      if (name[0] == '.') {
        name.remove_prefix(1);
        const std::size_t after = std::min(name.find_first_of(".["), name.size());
        TROUPE_ASSIGN_OR_RETURN(
            value, method_or_attribute(budget_, line_, value, std::string(name.substr(0, after))));
        name.remove_prefix(after);
      } else {
        const std::size_t after = name.find(']');
        if (name[0] != '[' || after == std::string_view::npos) {
          return bad_format(line_, "a '[' has no end");
        }
        const std::string key(name.substr(1, after - 1));
        const auto number = all_characters(key, is_decimal) ? BigInteger::parse(key) : std::nullopt;
        TROUPE_ASSIGN_OR_RETURN(
            value, subscript(budget_, line_, value, number ? Value(*number) : Value(key)));
        name.remove_prefix(after + 1);
      }
      if (value.is_undefined()) return bad_format(line_, "a value has no such part");
    }
    return value;
  }

  Result<Value> first(const std::string& name) {
    std::size_t index = next_;
    const bool number = !name.empty() && all_characters(name, is_decimal);
    if (name.empty() || number) {
      if (names_ != nullptr) return bad_format(line_, "format_map() looks names up");
      if (number) index = name.size() > 6 ? std::string::npos : std::stoul(name);
      if (!number) ++next_;
      if (index < arguments_.positional.size()) return arguments_.positional[index];
      return bad_format(line_, "it has more places than values");
    }
    const Value* found =
        names_ != nullptr ? (names_->dict() != nullptr ? find_text(*names_->dict(), name) : nullptr)
                          : find(arguments_.keywords, name);
    if (found == nullptr) return bad_format(line_, "there is no value " + in_quotes(name));
    return *found;
  }

  Budget* budget_;
  int line_;
  const Arguments& arguments_;
  const Value* names_;
  bool markup_;
  std::size_t next_ = 0;
};

}  // namespace

Result<Value> format_percent(Budget* budget, int line, const Value& format,
                             const Value& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, arguments.weight()));
  TROUPE_ASSIGN_OR_RETURN(const Value made, Percent(budget, line, format, arguments).run());
  return format.is_foreign() ? made.as_foreign() : made;
}

Result<Value> format_braces(Budget* budget, int line, const Text& format,
                            const Arguments& arguments, const Value* names) {
  Braces braces(budget, line, arguments, names, format.markup);
  TROUPE_ASSIGN_OR_RETURN(const Value made, braces.run(format.text, 0));
  return format.foreign.empty() ? made : made.as_foreign();
}

Result<std::string> format_value(Budget* budget, int line, const Value& value,
                                 std::string_view specification) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, value.weight()));
  if (specification.empty()) return text_of(line, value);
  FormatSpec spec;
  const auto unknown = [&] {
    return bad_format(line, in_quotes(specification) + " is not known for a value of type " +
                                std::string(type_name(value)));
  };
  if (!parse_format_spec(specification, &spec)) return unknown();
  if (spec.width > kWidthMax) return bad_format(line, "its width is too large");
  TROUPE_RETURN_IF_ERROR(budget->take(line, static_cast<std::size_t>(spec.width)));
  std::string lead;
  if (const std::string* text = value.string()) {
    if ((spec.type != '\0' && spec.type != 's') || spec.align == '=' || spec.grouping != '\0' ||
        spec.sign != '-' || spec.alternate) {
      if (spec.align != '=' || spec.fill != "0") return unknown();
      spec.align = '<';  // "{:08}" fills a text with zeros on its right
    }
    return padded("", first_characters(*text, spec.precision), spec, '<');
  }
  const std::optional<BigInteger> whole = whole_of(value);
  double real = 0;
  if (whole && std::string_view("bdoxXn").find(spec.type == '\0' ? 'd' : spec.type) !=
                   std::string_view::npos) {
    if (spec.precision >= 0) return unknown();
    const std::string digits = format_whole(*whole, spec, &lead);
    return padded(lead, digits, spec, '>');
  }
  if (whole && spec.type == 'c') {
    const auto code = whole->to_int64();
    if (!code || *code < 0 || *code > 0x10ffff) return unknown();
    append_utf8(static_cast<char32_t>(*code), &lead);
    return padded("", lead, spec, '>');
  }
  const bool fits =
      spec.type == '\0' || std::string_view("eEfFgGn%").find(spec.type) != std::string_view::npos;
  if (!to_number(value, &real) || !fits) return unknown();
  const std::string digits = format_real(real, spec, &lead);
  return padded(lead, digits, spec, '>');
}

}  // namespace troupe::model::jinja
