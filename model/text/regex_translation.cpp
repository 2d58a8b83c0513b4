#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <troupe/model/text/regex_translation.h>
#include <troupe/model/text/unicode_tables.h>
#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/text/hex.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

std::string ranges_text(std::span<const unicode::Range> ranges) {
  std::string out;
  char buffer[40];
  for (const unicode::Range& range : ranges) {
    std::snprintf(buffer, sizeof buffer, "\\x{%x}-\\x{%x}", static_cast<unsigned>(range.first),
                  static_cast<unsigned>(range.last));
    out += buffer;
  }
  return out;
}

// Returns the members of a class that stand for a general category: PCRE2's own, and those that are
// newer. Returns "" for categories that are not used to cut text.
std::string category_members(std::string_view name) {
  if (name == "L") return "\\p{L}" + ranges_text(unicode::kLettersOfLate);
  if (name == "Lu") return "\\p{Lu}" + ranges_text(unicode::kCapitalsOfLate);
  if (name == "Ll") return "\\p{Ll}" + ranges_text(unicode::kSmallLettersOfLate);
  if (name == "Lm") return "\\p{Lm}" + ranges_text(unicode::kModifiersOfLate);
  if (name == "Lo") return "\\p{Lo}" + ranges_text(unicode::kOtherLettersOfLate);
  if (name == "N") return "\\p{N}" + ranges_text(unicode::kNumbersOfLate);
  if (name == "P") return "\\p{P}" + ranges_text(unicode::kPunctuationSince14);
  if (name == "S") return "\\p{S}" + ranges_text(unicode::kSymbolsOfLate);
  if (name == "M") return "\\p{M}" + ranges_text(unicode::kMarksSince14);
  return {};
}

// Returns the members of \s, \d and \w. PCRE2's \s has U+180E, which lost White_Space in Unicode
// 6.3, and its \w lacks marks, letter-like numbers and circled letters. Oniguruma's \w also has the
// fractions and superscripts of Latin-1.
std::string shorthand_members(char name) {
  if (name == 's') return R"(\p{Z}\t-\r\x{85})";
  std::string digits = "\\p{Nd}";
  for (const unicode::Range& range : unicode::kNumbersOfLate) {
    if (range.first != 0x1d2c0) digits += ranges_text({&range, 1});  // of category No
  }
  if (name == 'd') return digits;
  return digits + category_members("L") + category_members("M") +
         R"(\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9})"
         R"(\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
}

// Returns the members of a class that stand for a POSIX name; "" if there is no such name.
std::string posix_members(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"alpha", R"(\p{Alphabetic})"},
      {"digit", R"(\p{Nd})"},
      {"alnum", R"(\p{Alphabetic}\p{Nd})"},
      {"upper", R"(\p{Uppercase})"},
      {"lower", R"(\p{Lowercase})"},
      {"punct", R"(\p{P}$+<=>\^`|~)"},
      {"blank", R"(\p{Zs}\t)"},
      {"cntrl", R"(\p{Cc})"},
      {"xdigit", "0-9a-fA-F"},
      {"ascii", R"(\x{0}-\x{7f})"}};
  if (name == "space") return shorthand_members('s');
  if (name == "word") return shorthand_members('w');
  for (const auto& [known, members] : kNames) {
    if (name == known) return std::string(members);
  }
  return {};
}

// A class as it is read: members that PCRE2's own class can have, and expressions that match one
// character each.
struct CharacterSet {
  std::string members;
  std::vector<std::string> others;
};

std::string expression_of(const CharacterSet& set, bool negated) {
  if (set.others.empty()) {
    if (set.members.empty()) return negated ? "(?s:.)" : "(?!)";
    return (negated ? "[^" : "[") + set.members + "]";
  }
  std::string any = set.members.empty() ? "" : "[" + set.members + "]";
  for (const std::string& other : set.others) any += (any.empty() ? "" : "|") + other;
  return negated ? "(?:(?!" + any + ")(?s:.))" : "(?:" + any + ")";
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    TROUPE_ASSIGN_OR_RETURN(std::string out, alternatives(0));
    if (at_ < in_.size()) return refuse("a ')' is alone");
    return out;
  }

 private:
  static constexpr int kNestingMax = 100;

  Status refuse(const std::string& why) const {
    return Status(Code::kBadData,
                  "the regular expression " + in_quotes(in_) + " cannot be used: " + why);
  }
  bool starts(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool accept(std::string_view text) {
    if (!starts(text)) return false;
    at_ += text.size();
    return true;
  }

  // Reads everything up to a ')' or the end.
  Result<std::string> alternatives(int depth) {
    if (depth > kNestingMax) return refuse("its groups are nested too deeply");
    std::string out;
    while (at_ < in_.size() && in_[at_] != ')') {
      if (accept("|")) {
        out += '|';
        continue;
      }
      TROUPE_ASSIGN_OR_RETURN(std::string atom, one_atom(depth));
      TROUPE_ASSIGN_OR_RETURN(atom, quantified(std::move(atom)));
      out += atom;
    }
    return out;
  }

  Result<std::string> one_atom(int depth) {
    if (accept("(")) return group(depth);
    if (accept("[")) return character_class(depth);
    if (starts("\\")) return escape();
    // A brace that is not a quantifier stands for itself.
    if (accept("{")) return std::string("\\{");
    if (accept("}")) return std::string("\\}");
    if (accept("]")) return std::string("\\]");
    const std::size_t bytes = utf8_char(in_.substr(at_)).bytes;
    at_ += bytes;
    return std::string(in_.substr(at_ - bytes, bytes));
  }

  Result<std::string> group(int depth) {
    std::string begin = "(?:";
    static constexpr std::string_view kKinds[] = {"?:", "?=", "?!", "?<=", "?<!", "?>"};
    const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&](std::string_view one) { return starts(one); });
    if (accept("?#")) {
      at_ = std::min(in_.find(')', at_), in_.size());
      return accept(")") ? std::string() : Result<std::string>(refuse("a comment has no end"));
    }
    if (kind != std::end(kKinds)) {
      begin = "(" + std::string(*kind);
      at_ += kind->size();
    } else if (starts("?<") || starts("?'")) {  // a name, which nothing refers to
      at_ = in_.find_first_of(">'", at_ + 2);
      if (at_ == std::string_view::npos) return refuse("a group's name has no end");
      ++at_;
    } else if (accept("?")) {
      begin = "(?";
      while (at_ < in_.size() &&
             std::string_view("imx-").find(in_[at_]) != std::string_view::npos) {
        begin += in_[at_] == 'm' ? 's' : in_[at_];
        ++at_;
      }
      if (accept(")")) return begin + ")";  // the options are for the rest of the group
      if (!accept(":")) return refuse("a group begins with something that is not known");
      begin += ':';
    } else if (starts("*")) {
      return refuse("'(*' is not supported");
    }
    TROUPE_ASSIGN_OR_RETURN(const std::string inside, alternatives(depth + 1));
    if (!accept(")")) return refuse("a '(' has no end");
    return begin + inside + ")";
  }

  // Reads "{n}", "{n,}", "{,m}" or "{n,m}" into PCRE2's form; returns "" if there is none.
  std::string braces(bool* fixed) {
    const std::size_t end = in_.find('}', at_);
    if (!starts("{") || end == std::string_view::npos) return {};
    const std::string_view inside = in_.substr(at_ + 1, end - at_ - 1);
    const std::size_t comma = inside.find(',');
    const std::string_view least = inside.substr(0, comma);
    const std::string_view most = comma == inside.npos ? "" : inside.substr(comma + 1);
    const auto is_number = [](std::string_view text) {
      return text.size() <= 6 &&
             std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    if (!is_number(least) || !is_number(most) || (least.empty() && most.empty())) return {};
    at_ = end + 1;
    *fixed = comma == inside.npos;
    std::string out = "{" + std::string(least.empty() ? "0" : least);
    if (!*fixed) (out += ',') += most;
    return out + "}";
  }

  Result<std::string> quantified(std::string atom) {
    for (;;) {
      bool fixed = false;
      if (const std::string range = braces(&fixed); !range.empty()) {
        atom += range;
        if (accept("?")) {
          atom = fixed ? "(?:" + atom + ")?" : atom + "?";
        } else if (starts("+")) {  // a repetition of the whole
          atom = "(?:" + atom + ")";
          continue;
        }
      } else if (starts("*") || starts("+") || starts("?")) {
        atom += in_[at_++];
        if (starts("?") || starts("+")) atom += in_[at_++];
      } else {
        return atom;
      }
      const bool another = starts("*") || starts("+") || starts("?") || starts("{");
      if (!another) return atom;
      const std::size_t before = at_;
      const bool repeats = !starts("{") || !braces(&fixed).empty();
      at_ = before;
      if (!repeats) return atom;
      atom = "(?:" + atom + ")";
    }
  }

  // --- escapes ---

  static std::string as_class(const std::string& members, bool negated) {
    return (negated ? "[^" : "[") + members + "]";
  }

  Result<std::string> escape() {
    if (at_ + 1 == in_.size()) return refuse("it ends with a backslash");
    const char c = in_[at_ + 1];
    std::string members;
    bool negated = false;
    TROUPE_ASSIGN_OR_RETURN(const bool is_set, set_escape(&members, &negated));
    if (is_set) return as_class(members, negated);
    static const std::string kWord = "[" + shorthand_members('w') + "]";
    switch (c) {
      case 'R':
        at_ += 2;
        return std::string(R"((?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}]))");
      case 'b':
        at_ += 2;
        return "(?:(?<=" + kWord + ")(?!" + kWord + ")|(?<!" + kWord + ")(?=" + kWord + "))";
      case 'B':
        at_ += 2;
        return "(?:(?<=" + kWord + ")(?=" + kWord + ")|(?<!" + kWord + ")(?!" + kWord + "))";
      case 'A':
      case 'z':
      case 'Z':
      case 'X':
        at_ += 2;
        return std::string("\\") + c;
      default:
        break;
    }
    TROUPE_ASSIGN_OR_RETURN(const char32_t code_point, character_escape(false));
    return class_character(code_point);
  }

  // Reads an escape that stands for a set of characters: \d, \p{L} and the like.
  Result<bool> set_escape(std::string* members, bool* negated) {
    const char c = in_[at_ + 1];
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower == 's' || lower == 'd' || lower == 'w' || lower == 'h') {
      at_ += 2;
      *members = lower == 'h' ? "0-9a-fA-F" : shorthand_members(lower);
      *negated = c != lower;
      return true;
    }
    if (lower != 'p') return false;
    at_ += 2;
    *negated = c == 'P';
    TROUPE_RETURN_IF_ERROR(property(members, negated));
    return true;
  }

  Status property(std::string* members, bool* negated) {
    std::string_view name = in_.substr(at_, 1);
    at_ += name.size();
    if (name == "{") {
      const std::size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) return refuse("'\\p{' has no end");
      name = in_.substr(at_, end - at_);
      at_ = end + 1;
    }
    if (name.starts_with("^")) {
      *negated = !*negated;
      name.remove_prefix(1);
    }
    static constexpr std::pair<std::string_view, std::string_view> kLong[] = {
        {"Letter", "L"},
        {"Mark", "M"},
        {"Number", "N"},
        {"Punctuation", "P"},
        {"Symbol", "S"},
        {"Separator", "Z"},
        {"Other", "C"},
        {"Uppercase_Letter", "Lu"},
        {"Lowercase_Letter", "Ll"},
        {"Titlecase_Letter", "Lt"},
        {"Modifier_Letter", "Lm"},
        {"Other_Letter", "Lo"},
        {"Decimal_Number", "Nd"}};
    for (const auto& [written, category] : kLong) {
      if (name == written) name = category;
    }
    *members = category_members(name);
    if (!members->empty()) return Status::ok();
    *members = posix_members(to_lower(std::string(name)));
    if (members->empty()) *members = "\\p{" + std::string(name) + "}";
    return Status::ok();
  }

  Result<char32_t> hexadecimal(std::size_t most) {
    char32_t value = 0;
    std::size_t digits = 0;
    for (; digits < most && at_ < in_.size() && hex_value(in_[at_]) >= 0; ++digits, ++at_) {
      value = value * 16 + static_cast<char32_t>(hex_value(in_[at_]));
    }
    if (digits == 0 || value > 0x10ffff) return refuse("a character's number is wrong");
    return value;
  }

  // Reads an escape that stands for one character.
  Result<char32_t> character_escape(bool in_class) {
    if (at_ + 1 >= in_.size()) return refuse("it ends with a backslash");
    const char c = in_[at_ + 1];
    at_ += 2;
    static constexpr std::pair<char, char32_t> kControls[] = {
        {'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'f', '\f'}, {'v', 0x0b}, {'a', 7}, {'e', 0x1b}};
    for (const auto& [letter, code_point] : kControls) {
      if (c == letter) return code_point;
    }
    if (c == 'b' && in_class) return char32_t{8};
    if (c == 'u') return hexadecimal(4);
    if (c == 'x') {
      if (!accept("{")) return hexadecimal(2);
      TROUPE_ASSIGN_OR_RETURN(const char32_t value, hexadecimal(8));
      return accept("}") ? Result<char32_t>(value) : refuse("'\\x{' has no end");
    }
    if (c == '0') return char32_t{0};
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      return refuse(std::string("'\\") + c + "' is not supported");
    }
    at_ -= 1;
    const Utf8Char next = utf8_char(in_.substr(at_));
    at_ += next.bytes;
    return next.code_point;
  }

  // --- classes ---

  static std::string class_character(char32_t code_point) {
    std::string out;
    if (code_point < 0x80 && std::isalnum(static_cast<int>(code_point)) == 0) {
      char buffer[16];
      std::snprintf(buffer, sizeof buffer, "\\x{%x}", static_cast<unsigned>(code_point));
      return buffer;
    }
    append_utf8(code_point, &out);
    return out;
  }

  // Reads what follows a '['.
  Result<std::string> character_class(int depth) {
    if (depth > kNestingMax) return refuse("its classes are nested too deeply");
    const bool negated = accept("^");
    std::vector<CharacterSet> parts(1);
    for (bool first = true; first || !starts("]"); first = false) {
      if (at_ >= in_.size()) return refuse("a '[' has no end");
      if (accept("&&")) {
        parts.emplace_back();
        continue;
      }
      TROUPE_RETURN_IF_ERROR(class_item(depth, &parts.back()));
    }
    ++at_;
    if (parts.size() == 1) return expression_of(parts[0], negated);
    std::string both = "(?:";
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      both += "(?=" + expression_of(parts[i], false) + ")";
    }
    both += expression_of(parts.back(), false) + ")";
    return negated ? "(?:(?!" + both + ")(?s:.))" : both;
  }

  Status class_item(int depth, CharacterSet* set) {
    if (accept("[:")) {
      const bool negated = accept("^");
      const std::size_t end = in_.find(":]", at_);
      const std::string members =
          end == std::string_view::npos ? "" : posix_members(in_.substr(at_, end - at_));
      if (members.empty()) return refuse("'[:' begins a name that is not known");
      at_ = end + 2;
      if (!negated) {
        set->members += members;
      } else {
        set->others.push_back(as_class(members, true));
      }
      return Status::ok();
    }
    if (accept("[")) {
      TROUPE_ASSIGN_OR_RETURN(std::string inner, character_class(depth + 1));
      set->others.push_back(std::move(inner));
      return Status::ok();
    }
    if (starts("\\")) {
      if (at_ + 1 == in_.size()) return refuse("it ends with a backslash");
      std::string members;
      bool negated = false;
      TROUPE_ASSIGN_OR_RETURN(const bool is_set, set_escape(&members, &negated));
      if (is_set && negated) set->others.push_back(as_class(members, true));
      if (is_set && !negated) set->members += members;
      if (is_set) return Status::ok();
    }
    TROUPE_ASSIGN_OR_RETURN(const char32_t from, class_code_point());
    set->members += class_character(from);
    const bool range = starts("-") && at_ + 1 < in_.size() && in_[at_ + 1] != ']' &&
                       in_[at_ + 1] != '[' && !in_.substr(at_ + 1).starts_with("&&");
    if (!range) return Status::ok();
    const std::size_t before = at_;
    ++at_;
    if (starts("\\") && at_ + 1 < in_.size() &&
        std::string_view("sdwhpSDWHP").find(in_[at_ + 1]) != std::string_view::npos) {
      at_ = before + 1;  // a hyphen that begins no range stands for itself
      set->members += class_character('-');
      return Status::ok();
    }
    TROUPE_ASSIGN_OR_RETURN(const char32_t to, class_code_point());
    if (to < from) return refuse("a range of a class is empty");
    set->members += "-" + class_character(to);
    return Status::ok();
  }

  Result<char32_t> class_code_point() {
    if (starts("\\")) return character_escape(true);
    const Utf8Char next = utf8_char(in_.substr(at_));
    at_ += next.bytes;
    return next.code_point;
  }

  std::string_view in_;
  std::size_t at_ = 0;
};

}  // namespace

Result<std::string> translate_regex(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace troupe::model
