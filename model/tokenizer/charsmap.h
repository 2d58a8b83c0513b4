#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/runtime/status.h>

// The table that SentencePiece compiles into its models, of characters and what they become: NFKC
// and a few more rules, or none. Immutable; any thread may use one.
//
// bytes:  size of the trie in bytes, u32 | trie, u32 each | texts, each with a zero after it
//         (all little-endian)
// The trie is a double array of Darts-clone. A unit has its label in bits 0 to 7 (if bit 31 is set,
// it is a value, the place of a text). Bit 8 says whether a key ends here. Bits 10 to 30, times 256
// if bit 9 is set, lead to the units of the next byte.
// Source: SentencePiece's normalizer.cc; darts-clone's darts.h.

namespace troupe::model {

class Charsmap {
 public:
  // Errors: kBadData saying what is wrong with the bytes.
  static Result<Charsmap> parse(std::string_view bytes);

  // Replaces the longest key at each place, as SentencePiece does. The tokens of `kept` stay
  // as they are.
  std::string by_longest(std::string_view text, const AddedTokens& kept) const;
  // Does what Hugging Face's tokenizers do: a grapheme (a character as users see it) of less than
  // six bytes is replaced as a whole by what its shortest key becomes; in a longer one, each code
  // point is replaced.
  std::string by_graphemes(std::string_view text) const;

 private:
  struct Match {
    std::size_t bytes = 0;
    std::string_view text;
  };
  Charsmap(std::vector<std::uint32_t> units, std::string texts)
      : units_(std::move(units)), texts_(std::move(texts)) {}
  // Returns the shortest or the longest key that `text` begins with.
  std::optional<Match> find(std::string_view text, bool longest) const;

  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace troupe::model
