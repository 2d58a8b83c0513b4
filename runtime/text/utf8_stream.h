#pragma once

#include <string>
#include <string_view>

// Bytes that arrive in pieces, given on as whole UTF-8 characters. The engine and the command turn
// the bytes of tokens into text with it. Pure; an object has one owner.

namespace troupe {

// Never emits half a UTF-8 character: an incomplete tail is held back until it is whole; bytes that
// can never be part of a character become U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);  // the complete characters so far
  std::string finish();                      // what is left, incomplete tails as U+FFFD

 private:
  std::string pending_;
};

}  // namespace troupe
