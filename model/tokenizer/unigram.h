#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/prefix_trie.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/model/tokenizer/word_model.h>

namespace troupe::model {

// SentencePiece's unigram model: every token has a score, and a word is cut so that the sum of the
// scores is the largest one. A character that is not a token of its own may also be unknown, at a
// score below all others. Neighbouring unknown characters are one unknown token. Immutable once
// filled; any thread may encode.
// Source: Kudo 2018. The order of the search, which decides between equal sums, is that of
// EncodeOptimized in SentencePiece (unigram_model.cc) and of encode_optimized in Hugging Face's
// tokenizers (unigram/model.rs).
class UnigramModel final : public WordModel {
 public:
  struct Options {
    TokenId unknown = 0;
    double unknown_score = 0.0;
    bool byte_fallback = false;  // an unknown stretch becomes the tokens of its bytes
    // SentencePiece keeps its sums in f32, and tokenizers in f64.
    bool single_precision = false;
  };
  explicit UnigramModel(const Options& options) : options_(options) { bytes_.fill(-1); }
  // Adds a token, which is not empty. The later of two equal texts wins.
  void add(std::string_view text, TokenId id, double score);
  void set_byte(unsigned char byte, TokenId id) { bytes_[byte] = id; }

  void encode(std::string_view word, std::vector<TokenId>* ids) const override;
  std::size_t fewest_tokens(std::size_t bytes) const override;

 private:
  // The best cut up to a place in the word: its last token, where that token begins, and the sum of
  // scores.
  struct Step {
    std::size_t begin = 0;
    TokenId id = -1;  // -1: no way is known
    double sum = 0.0;
  };
  void reach(double sum, std::size_t begin, TokenId id, Step* step) const;
  double kept(double sum) const;  // rounded, with single precision
  void append_unknown(std::string_view text, std::vector<TokenId>* ids) const;
  bool has_all_bytes() const;

  const Options options_;
  PrefixTrie trie_;             // text -> id
  std::vector<double> scores_;  // by id
  std::array<TokenId, 256> bytes_{};
  std::size_t longest_ = 1;
};

}  // namespace troupe::model
