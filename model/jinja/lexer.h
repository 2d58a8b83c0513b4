#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Template source -> tokens, with whitespace as transformers sets Jinja up: trim_blocks and
// lstrip_blocks on, one trailing newline of the source dropped.

namespace troupe::model::jinja {

enum class TokenKind : std::uint8_t {
  kText,         // outside of tags, whitespace control applied
  kOutputBegin,  // {{
  kOutputEnd,
  kTagBegin,  // {%
  kTagEnd,
  kName,
  kString,  // escapes resolved
  kInteger,
  kReal,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// kBadData naming the line. The last token is kEnd.
Result<std::vector<Token>> tokenize(std::string_view source);

// Every message about a template begins like this.
Status template_error(int line, const std::string& what, Code code = Code::kBadData);

}  // namespace troupe::model::jinja
