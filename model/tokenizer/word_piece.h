#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/string_index.h>
#include <troupe/model/tokenizer/word_model.h>

namespace troupe::model {

// WordPiece: takes the longest token at the start of a word, then the longest continuation, and so
// on. A word with a part that is not a token becomes the unknown token. Immutable once filled; any
// thread may encode. Source: Wu et al. 2016; BERT's tokenization.py.
class WordPieceModel final : public WordModel {
 public:
  struct Options {
    TokenId unknown = -1;
    std::size_t characters_max = 100;  // a longer word is the unknown token
  };
  explicit WordPieceModel(Options options) : options_(options) {}
  void add_start(std::string_view text, TokenId id);
  void add_continuation(std::string_view text, TokenId id);
  void encode(std::string_view word, std::vector<TokenId>* ids) const override;

 private:
  Options options_;
  std::deque<std::string> texts_;
  StringIndex starts_{0}, continuations_{0};
  std::size_t bytes_max_ = 0;  // length of the longest token
};

}  // namespace troupe::model
