#define PCRE2_CODE_UNIT_WIDTH 8
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <pcre2.h>
#include <time.h>

#include <troupe/model/text/regex.h>
#include <troupe/model/text/regex_translation.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::size_t kPatternBytesMax = 1 << 16;
// The most steps of one search with a foreign pattern. A sane pattern takes a few steps a
// character.
constexpr std::uint32_t kForeignStepsMax = 10'000'000;
// The CPU time that a foreign pattern may take for one text, whatever the number of searches. It is
// checked after every kLookEvery searches.
constexpr std::int64_t kForeignMsMax = 3'000;
constexpr std::size_t kLookEvery = 64;

std::int64_t thread_cpu_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

template <class T, void (*free)(T*)>
struct Free {
  void operator()(T* object) const { free(object); }
};
using Code8 = std::unique_ptr<pcre2_code, Free<pcre2_code, pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Free<pcre2_match_context, pcre2_match_context_free>>;

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
  TROUPE_ASSIGN_OR_RETURN(const std::string translated, translate_regex(pattern));
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
  const std::int64_t until_ms = compiled_->foreign ? thread_cpu_ms() + kForeignMsMax : 0;
  std::size_t at = 0;
  for (std::size_t searches = 1; at < text.size(); ++searches) {
    if (compiled_->foreign && searches % kLookEvery == 0 && thread_cpu_ms() > until_ms) {
      return Status(Code::kResourceExhausted,
                    "cannot split a text of " + std::to_string(text.size()) +
                        " bytes into words: the regular expression of the model's tokenizer takes "
                        "too long");
    }
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
