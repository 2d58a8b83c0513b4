#include <algorithm>
#include <charconv>
#include <utility>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/lexer.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }
// Names may have letters beyond ASCII; the parser's callers find out whether a name exists.
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string with_unix_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_unix_lines(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = next_tag();
      const std::string_view rest(source_);
      if (tag == std::string::npos) {
        add_text(rest.substr(at_));
        at_ = source_.size();
        break;
      }
      TROUPE_RETURN_IF_ERROR(lex_tag(tag));
    }
    tokens_.push_back({TokenKind::kEnd, "", line_});
    return std::move(tokens_);
  }

 private:
  std::size_t next_tag() const {
    for (std::size_t i = source_.find('{', at_); i != std::string::npos;
         i = source_.find('{', i + 1)) {
      if (i + 1 == source_.size()) break;
      const char kind = source_[i + 1];
      if (kind == '{' || kind == '%' || kind == '#') return i;
    }
    return std::string::npos;
  }

  void advance_to(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }

  void add_text(std::string_view text) {
    if (!text.empty()) tokens_.push_back({TokenKind::kText, std::string(text), line_});
  }

  // Returns the text before a tag, without what the tag strips.
  std::string_view stripped_before(std::size_t tag, char kind, char sign) const {
    std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    if (sign == '-') {
      while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    } else if (sign != '+' && kind != '{') {
      const std::size_t newline = text.rfind('\n');
      if (newline == std::string_view::npos && !line_starting_) return text;
      const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
      if (std::all_of(text.begin() + static_cast<std::ptrdiff_t>(line), text.end(), is_space)) {
        text = text.substr(0, line);
      }
    }
    return text;
  }

  Status lex_tag(std::size_t tag) {
    const char kind = source_[tag + 1];
    char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    if (sign == '+' && kind == '{') sign = '\0';  // {{ +x }}
    add_text(stripped_before(tag, kind, sign));
    advance_to(tag + 2 + (sign != '\0' ? 1 : 0));
    if (kind == '#') return skip_comment();
    const bool output = kind == '{';
    tokens_.push_back({output ? TokenKind::kOutputBegin : TokenKind::kTagBegin, "", line_});
    const std::size_t first = tokens_.size();
    TROUPE_RETURN_IF_ERROR(lex_inside(output));
    tokens_.push_back({output ? TokenKind::kOutputEnd : TokenKind::kTagEnd, "", tag_end_line_});
    const bool raw = !output && tokens_.size() == first + 2 &&
                     tokens_[first].kind == TokenKind::kName && tokens_[first].text == "raw";
    return raw ? lex_raw(first - 1) : Status::ok();
  }

  // Skips what trim_blocks and '-' take away after the end of a tag whose sign was `sign`.
  void after_tag(char sign, bool trim) {
    std::size_t end = at_;
    if (sign == '-') {
      while (end < source_.size() && is_space(source_[end])) ++end;
    } else if (trim && sign != '+' && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    tag_end_line_ = line_;
    line_starting_ = end > at_ && source_[end - 1] == '\n';
    advance_to(end);
  }

  Status skip_comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return template_error(line_, "a comment '{#' has no end '#}'");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    advance_to(end + 2);
    after_tag(sign, /*trim=*/true);
    return Status::ok();
  }

  // Adds the text up to {% endraw %} unchanged. `begin` is the index of the token that opened the
  // tag.
  Status lex_raw(std::size_t begin) {
    tokens_.resize(begin);
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      std::size_t i = tag + 2;
      char sign = '\0';
      if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) sign = source_[i++];
      while (i < source_.size() && is_space(source_[i])) ++i;
      if (source_.compare(i, 6, "endraw") != 0) continue;
      i += 6;
      while (i < source_.size() && is_space(source_[i])) ++i;
      char end_sign = '\0';
      if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) end_sign = source_[i++];
      if (source_.compare(i, 2, "%}") != 0) continue;
      add_text(stripped_before(tag, '%', sign));
      advance_to(i + 2);
      after_tag(end_sign, /*trim=*/true);
      return Status::ok();
    }
    return template_error(line_, "'raw' has no end '{% endraw %}'");
  }

  Status lex_inside(bool output) {
    const std::string_view close = output ? "}}" : "%}";
    std::size_t open_brackets = 0;
    for (;;) {
      std::size_t i = at_;
      while (i < source_.size() && is_space(source_[i])) ++i;
      advance_to(i);
      if (at_ == source_.size()) {
        return template_error(line_, "a tag has no end '" + std::string(close) + "'");
      }
      const char c = source_[at_];
      if (open_brackets == 0) {
        const bool signed_end =
            (c == '-' || (c == '+' && !output)) && source_.compare(at_ + 1, 2, close) == 0;
        if (signed_end || source_.compare(at_, 2, close) == 0) {
          advance_to(at_ + (signed_end ? 3 : 2));
          after_tag(signed_end ? c : '\0', /*trim=*/!output);
          return Status::ok();
        }
      }
      if (c == '\'' || c == '"') {
        TROUPE_RETURN_IF_ERROR(lex_string());
      } else if (is_ascii_digit(c)) {
        lex_number();
      } else if (is_name_start(c)) {
        std::size_t end = at_;
        while (end < source_.size() &&
               (is_name_start(source_[end]) || is_ascii_digit(source_[end]))) {
          ++end;
        }
        tokens_.push_back({TokenKind::kName, source_.substr(at_, end - at_), line_});
        at_ = end;
      } else {
        TROUPE_RETURN_IF_ERROR(lex_operator(&open_brackets));
      }
    }
  }

  // Reads digits of base 2, 8 or 16 after "0b", "0o" or "0x" at `at_`; returns false if there are
  // none.
  bool lex_based_number() {
    static constexpr std::pair<std::string_view, std::string_view> kBases[] = {
        {"bB", "01_"}, {"oO", "01234567_"}, {"xX", "0123456789abcdefABCDEF_"}};
    if (source_[at_] != '0' || at_ + 2 >= source_.size()) return false;
    for (const auto& [letters, digits] : kBases) {
      if (letters.find(source_[at_ + 1]) == std::string_view::npos) continue;
      const std::size_t end = std::min(source_.find_first_not_of(digits, at_ + 2), source_.size());
      std::string text = source_.substr(at_, end - at_);
      std::erase(text, '_');
      if (text.size() < 3) return false;
      tokens_.push_back({TokenKind::kInteger, std::move(text), line_});
      at_ = end;
      return true;
    }
    return false;
  }

  void lex_number() {
    if (lex_based_number()) return;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // messages.0.1
    std::size_t end = at_;
    std::string digits;
    const auto take_digits = [&] {
      while (end < source_.size() && (is_ascii_digit(source_[end]) || source_[end] == '_')) {
        if (source_[end] != '_') digits += source_[end];
        ++end;
      }
    };
    take_digits();
    TokenKind kind = TokenKind::kInteger;
    if (!after_dot && end + 1 < source_.size() && source_[end] == '.' &&
        is_ascii_digit(source_[end + 1])) {
      kind = TokenKind::kReal;
      digits += source_[end++];
      take_digits();
    }
    if (!after_dot && end + 1 < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const bool is_signed = source_[end + 1] == '-' || source_[end + 1] == '+';
      const std::size_t first = end + (is_signed ? 2 : 1);
      if (first < source_.size() && is_ascii_digit(source_[first])) {
        kind = TokenKind::kReal;
        digits.append(source_, end, first - end);
        end = first;
        take_digits();
      }
    }
    tokens_.push_back({kind, digits, line_});
    at_ = end;
  }

  Status lex_operator(std::size_t* open_brackets) {
    static constexpr std::string_view kTwo[] = {"==", "!=", "<=", ">=", "//", "**"};
    const std::string_view rest = std::string_view(source_).substr(at_);
    std::size_t bytes = 1;
    for (const std::string_view two : kTwo) {
      if (rest.starts_with(two)) bytes = 2;
    }
    const char c = rest[0];
    if (bytes == 1 && std::string_view("+-*/%~<>=.,:|()[]{}").find(c) == std::string_view::npos) {
      return template_error(
          line_,
          "the character " + in_quotes(rest.substr(0, utf8_char(rest).bytes)) + " cannot be here");
    }
    if (c == '(' || c == '[' || c == '{') ++*open_brackets;
    if ((c == ')' || c == ']' || c == '}') && *open_brackets > 0) --*open_brackets;
    tokens_.push_back({TokenKind::kOperator, std::string(rest.substr(0, bytes)), line_});
    at_ += bytes;
    return Status::ok();
  }

  Status lex_string() {
    const char quote = source_[at_];
    const int line = line_;
    std::string text;
    std::size_t i = at_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] == '\\' && i + 1 < source_.size()) {
        TROUPE_RETURN_IF_ERROR(lex_escape(line, &i, &text));
      } else {
        text += source_[i++];
      }
    }
    if (i >= source_.size()) return template_error(line, "a string has no end");
    advance_to(i + 1);
    tokens_.push_back({TokenKind::kString, std::move(text), line});
    return Status::ok();
  }

  // Appends what the escape at `i`, a backslash and at least one character, stands for, and moves
  // `i` past it. An unknown escape stands for itself, as in Python.
  Status lex_escape(int line, std::size_t* i, std::string* text) {
    static constexpr std::pair<char, std::string_view> kEscapes[] = {
        {'n', "\n"}, {'t', "\t"}, {'r', "\r"},  {'b', "\b"},  {'f', "\f"}, {'v', "\v"},
        {'a', "\a"}, {'\n', ""},  {'\\', "\\"}, {'\'', "\'"}, {'"', "\""}};
    const char c = source_[*i + 1];
    *i += 2;
    if (c == 'x' || c == 'u' || c == 'U') return lex_code_point(line, c, i, text);
    if (c >= '0' && c <= '7') {  // up to three octal digits
      std::uint32_t value = static_cast<std::uint32_t>(c - '0');
      for (int digits = 1; digits < 3 && *i < source_.size(); ++digits, ++*i) {
        const char next = source_[*i];
        if (next < '0' || next > '7') break;
        value = value * 8 + static_cast<std::uint32_t>(next - '0');
      }
      append_utf8(static_cast<char32_t>(value), text);
      return Status::ok();
    }
    for (const auto& [escape, meaning] : kEscapes) {
      if (c != escape) continue;
      *text += meaning;
      return Status::ok();
    }
    (*text += '\\') += c;
    return Status::ok();
  }

  // Appends the character of \xHH, \uHHHH or \UHHHHHHHH, whose digits begin at `i`.
  Status lex_code_point(int line, char kind, std::size_t* i, std::string* text) {
    const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    std::uint32_t code_point = 0;
    const char* begin = source_.data() + *i;
    const char* end = source_.data() + std::min(*i + digits, source_.size());
    const auto parsed = std::from_chars(begin, end, code_point, 16);
    if (parsed.ptr != begin + digits || code_point > 0x10ffff ||
        (code_point >= 0xd800 && code_point < 0xe000)) {
      return template_error(line, "a string has a broken escape '\\" + std::string(1, kind) + "'");
    }
    append_utf8(code_point, text);
    *i += digits;
    return Status::ok();
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  int tag_end_line_ = 1;       // line of the last tag's end, before what it trims
  bool line_starting_ = true;  // whether the text at at_ begins a line, for lstrip_blocks
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace troupe::model::jinja
