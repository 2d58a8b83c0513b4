#pragma once

#include <cstddef>
#include <iterator>
#include <random>
#include <string>

#include <troupe/runtime/text/utf8.h>

// Random texts for tests of tokenizers and of streams.

namespace troupe::test {

// Returns a random text of characters from all over Unicode, with runs that matter to regular
// expressions.
inline std::string random_text(std::mt19937* random, std::size_t characters) {
  static const char32_t kFavourites[] = {
      ' ',    ' ',    '\n', '\t',   '\r',   'a',    'Z',    '0',    '9',     '\'',   's', 'l',
      0x00a0, 0x200b, 0x85, 0x180e, 0x3000, 0x0301, 0x00bd, 0x2167, 0x1f642, 0x4e16, '<', '|'};
  std::string text;
  while (characters-- > 0) {
    if ((*random)() % 4 != 0) {
      append_utf8(kFavourites[(*random)() % std::size(kFavourites)], &text);
      continue;
    }
    char32_t any = (*random)() % 0x110000;
    if (any >= 0xd800 && any < 0xe000) any = 'x';
    append_utf8(any, &text);
  }
  return text;
}

}  // namespace troupe::test
