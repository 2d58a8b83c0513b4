#pragma once

#include <string>
#include <string_view>

// Takes bytes that arrive in pieces, and passes on whole UTF-8 characters. The engine and the
// command use it to turn the bytes of tokens into text. Pure; an object has one owner.

namespace troupe {

// Never returns half a UTF-8 character: an incomplete tail is held back until it is complete, and
// bytes that can never be part of a character become U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);  // the complete characters so far
  std::string finish();                      // the rest, with an incomplete tail as U+FFFD

 private:
  std::string pending_;
};

}  // namespace troupe
