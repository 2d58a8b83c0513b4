#pragma once

#include <troupe/model/tokenizer/tokenizer.h>

// A tokenizer for tests of the engine: letters, an end token, and half characters.

namespace troupe {

// Token i is the letter 'a' + i % 26; token 99 ends; 98 is the first half of "é", 97 the second.
class LetterTokenizer : public model::Tokenizer {
 public:
  Result<std::vector<model::TokenId>> encode(std::string_view text,
                                             const model::EncodeOptions&) const override {
    std::vector<model::TokenId> ids;
    for (const char c : text) ids.push_back(c - 'a');
    return ids;
  }
  Result<std::string> piece(model::TokenId id, bool) const override {
    if (id == 99) return std::string();
    if (id == 98) return std::string("\xC3");
    if (id == 97) return std::string("\xA9");
    return std::string(1, static_cast<char>('a' + id % 26));
  }
  std::size_t vocabulary() const override { return 100; }
  bool is_end(model::TokenId id) const override { return id == 99; }
  std::vector<model::TokenId> end_tokens() const override { return {99}; }
  model::TokenId bos() const override { return -1; }
  model::TokenId eos() const override { return 99; }
};

}  // namespace troupe
