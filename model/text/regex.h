#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <troupe/model/text/text_span.h>
#include <troupe/runtime/status.h>

// Regular expressions of pre-tokenizers and normalizers. They run in PCRE2, but have the meaning
// that the tokenizers' own engines give them: \s is the property White_Space, and \w stands for
// Unicode's word characters. The general categories are those of Unicode 16: Debian's PCRE2 knows
// Unicode 14, and unicode_tables.h adds the later characters and says how they were found.
// Immutable; any thread may match.

namespace troupe::model {

class Regex {
 public:
  // Compiles a pattern. A `foreign` one comes with a model. It is refused if it has something that
  // the engines understand differently, and its matching is bounded.
  //   Errors: kBadData names the pattern and what is wrong.
  static Result<Regex> compile(std::string_view pattern, bool foreign);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // Appends the matches in `text` from left to right. None of them is empty.
  //   Errors: kResourceExhausted if a foreign pattern takes too many steps.
  Status find_all(std::string_view text, std::vector<TextSpan>* matches) const;

 private:
  struct Compiled;
  explicit Regex(std::unique_ptr<const Compiled> compiled);
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace troupe::model
