#define PCRE2_CODE_UNIT_WIDTH 8
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include <pcre2.h>

#include <troupe/model/text/regex.h>
#include <troupe/model/text/unicode_tables.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::size_t kPatternBytesMax = 1 << 16;
// The most steps of one search with a foreign pattern. A sane pattern takes a few steps a
// character.
constexpr std::uint32_t kForeignStepsMax = 10'000'000;

template <class T, void (*free)(T*)>
struct Free {
  void operator()(T* object) const { free(object); }
};
using Code8 = std::unique_ptr<pcre2_code, Free<pcre2_code, pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Free<pcre2_match_context, pcre2_match_context_free>>;

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
// newer. Returns "" for categories other than the five that text is cut by.
std::string category_members(std::string_view name) {
  if (name == "L") return "\\p{L}" + ranges_text(unicode::kLettersOfLate);
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

// Translates a pattern of Oniguruma into PCRE2's language.
class Translator {
 public:
  Translator(std::string_view pattern, bool foreign) : in_(pattern), foreign_(foreign) {}

  Result<std::string> run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        TROUPE_RETURN_IF_ERROR(escape());
        continue;
      }
      if (in_class_ && foreign_ && (c == '[' || in_.substr(at_).starts_with("&&"))) {
        return refuse("classes within classes are not supported");
      }
      if (!in_class_ && foreign_ && in_.substr(at_).starts_with("}+")) {
        return refuse("'}+' is not supported");
      }
      if (!in_class_ && foreign_ && in_.substr(at_).starts_with("(*")) {
        return refuse("'(*' is not supported");
      }
      if (c == '[' && !in_class_) {
        in_class_ = true;
        out_ += c;
        ++at_;
        if (in_.substr(at_).starts_with("^")) out_ += in_[at_++];
        if (in_.substr(at_).starts_with("]")) {
          out_ += "\\]";
          ++at_;
        }
        continue;
      }
      if (c == ']') in_class_ = false;
      out_ += c;
      ++at_;
    }
    return std::move(out_);
  }

 private:
  Status refuse(const std::string& why) const {
    return Status(Code::kBadData,
                  "the regular expression " + in_quotes(in_) + " cannot be used: " + why);
  }

  // Writes `members` as they are inside a class, or as a class of their own.
  Status put_members(const std::string& members, bool negated) {
    if (!in_class_) {
      ((out_ += negated ? "[^" : "[") += members) += "]";
      return Status::ok();
    }
    if (negated) return refuse("a negated category inside a class is not supported");
    out_ += members;
    return Status::ok();
  }

  Status escape() {
    if (at_ + 1 == in_.size()) return refuse("it ends with a backslash");
    const char c = in_[at_ + 1];
    at_ += 2;
    if (c == 's' || c == 'd' || c == 'w') return put_members(shorthand_members(c), false);
    if (c == 'S' || c == 'D' || c == 'W') {
      return put_members(shorthand_members(static_cast<char>(std::tolower(c))), true);
    }
    if (c == 'p' || c == 'P') return category(c == 'P');
    if (c == 'u' && at_ + 4 <= in_.size()) {
      ((out_ += "\\x{") += in_.substr(at_, 4)) += "}";
      at_ += 4;
      return Status::ok();
    }
    const bool word = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (foreign_ && word && std::string_view("nrtfxaAzZ").find(c) == std::string_view::npos) {
      return refuse(std::string("'\\") + c + "' is not supported");
    }
    (out_ += '\\') += c;
    return Status::ok();
  }

  Status category(bool negated) {
    std::string_view name = in_.substr(at_, 1);
    at_ += name.size();
    if (name == "{") {
      const std::size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) return refuse("'\\p{' has no end");
      name = in_.substr(at_, end - at_);
      at_ = end + 1;
    }
    if (name.starts_with("^")) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const std::string members = category_members(name);
    if (!members.empty()) return put_members(members, negated);
    ((out_ += negated ? "\\P{" : "\\p{") += name) += "}";
    return Status::ok();
  }

  std::string_view in_;
  bool foreign_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

struct Regex::Compiled {
  Code8 code;
  bool foreign = false;
};

Regex::Regex(std::unique_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern, bool foreign) {
  const auto refuse = [&](const std::string& why) {
    return Status(Code::kBadData,
                  "the regular expression " + in_quotes(pattern) + " cannot be used: " + why);
  };
  if (pattern.size() > kPatternBytesMax) {
    return refuse("it has " + std::to_string(pattern.size()) + " bytes, more than " +
                  std::to_string(kPatternBytesMax));
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string translated, Translator(pattern, foreign).run());
  int error = 0;
  std::size_t offset = 0;
  auto compiled = std::make_unique<Compiled>();
  compiled->foreign = foreign;
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()),
                                     translated.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                                     &error, &offset, nullptr));
  if (compiled->code == nullptr) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(error, text, sizeof text);
    return refuse(reinterpret_cast<const char*>(text));
  }
  // If the system forbids executable pages, patterns are interpreted instead.
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::move(compiled));
}

Status Regex::find_all(std::string_view text, std::vector<TextSpan>* matches) const {
  const MatchData match(pcre2_match_data_create(1, nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  if (match == nullptr || context == nullptr) {
    return Status(Code::kResourceExhausted, "no memory to match regular expressions");
  }
  // Our own patterns take linear time, but the library's default limit would refuse a long run of
  // spaces.
  pcre2_set_match_limit(context.get(), compiled_->foreign
                                           ? kForeignStepsMax
                                           : std::numeric_limits<std::uint32_t>::max());
  std::size_t at = 0;
  while (at < text.size()) {
    const int found =
        pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                    at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return Status(Code::kResourceExhausted,
                    "cannot split a text of " + std::to_string(text.size()) +
                        " bytes into words: the regular expression failed with code " +
                        std::to_string(found));
    }
    const std::size_t* bounds = pcre2_get_ovector_pointer(match.get());
    matches->push_back({bounds[0], bounds[1]});
    at = bounds[1];
  }
  return Status::ok();
}

}  // namespace troupe::model
