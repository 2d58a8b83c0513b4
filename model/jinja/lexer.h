#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Cuts a template's source into tokens. White space is handled as transformers sets Jinja up:
// trim_blocks and lstrip_blocks are on, and one newline at the end of the source is dropped. Pure.

namespace troupe::model::jinja {

enum class TokenKind : std::uint8_t {
  kText,         // outside of tags, with white space control applied
  kOutputBegin,  // {{
  kOutputEnd,
  kTagBegin,  // {%
  kTagEnd,
  kName,
  kString,   // escapes resolved
  kInteger,  // digits, or "0x", "0o" or "0b" and digits
  kReal,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// Returns the tokens of a source, of which the last one is kEnd.
//   Errors: kBadData naming the line.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace troupe::model::jinja
