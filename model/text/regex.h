#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Regular expressions of pre-tokenizers and normalizers (PCRE2), read as the tokenizers' own
// engines read them: \s is the property White_Space, \w Unicode's word characters, and the general
// categories are those of Unicode 16 whatever the library knows. Immutable; any thread may match.

namespace troupe::model {

struct TextSpan {  // bytes
  std::size_t begin = 0, end = 0;
};

class Regex {
 public:
  // `foreign`: the pattern comes with a model. It is refused when it says what the engines read
  // differently, and its matching is bounded. kBadData names the pattern and what is wrong.
  static Result<Regex> compile(std::string_view pattern, bool foreign);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // The matches in `text` from left to right, none empty, appended. kResourceExhausted when a
  // foreign pattern takes too many steps.
  Status find_all(std::string_view text, std::vector<TextSpan>* matches) const;

 private:
  struct Compiled;
  explicit Regex(std::unique_ptr<const Compiled> compiled);
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace troupe::model
