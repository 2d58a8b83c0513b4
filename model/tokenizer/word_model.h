#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/model/tokenizer/bpe.h>
#include <troupe/model/tokenizer/string_index.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// A word -> tokens: byte-pair encoding over bytes or characters, and WordPiece. Immutable once
// made; any thread may encode.

namespace troupe::model {

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of `word`, which is UTF-8.
  virtual void encode(std::string_view word, std::vector<TokenId>* ids) const = 0;
};

// Byte-pair encoding.
class BpeModel final : public WordModel {
 public:
  struct Options {
    bool byte_level = false;     // the symbols are bytes, else characters
    bool whole_words = false;    // a word that is a token as it stands is taken without merging
    bool byte_fallback = false;  // characters that are no tokens become their bytes' tokens
    bool fuse_unknown = false;   // neighbours that are no tokens become one unknown token
    TokenId unknown = -1;        // -1: what is no token is left out
  };
  // `tokens` by id, as the file writes them ("" is no token); they must outlive load_merges.
  BpeModel(Options options, const std::vector<std::string>& tokens);
  BpeModel(const BpeModel&) = delete;
  BpeModel& operator=(const BpeModel&) = delete;

  // One merge a line, the parts in order; a part that is no token gets an id past the vocabulary
  // when `parts_may_be_unknown`, else it is kBadData. `what` names the list in messages.
  Status load_merges(const std::vector<std::pair<std::string_view, std::string_view>>& merges,
                     bool parts_may_be_unknown, std::string_view what);
  // A longer token is not made by scored merges, or not cut again: no trainer makes such ones, and
  // time grows with the square and the cube.
  static constexpr std::size_t kScoredBytesMax = 256, kUnusedBytesMax = 64;
  // SentencePiece: two symbols merge when together they are a token, the highest score first.
  // `merges[id]`: the token may come of a merge; `unused[id]`: it is cut again when it does.
  void load_scores(const std::vector<double>& scores, const std::vector<bool>& merges,
                   const std::vector<bool>& unused);
  // Texts that are one symbol each and never merge.
  void set_frozen(AddedTokens frozen) { frozen_ = std::move(frozen); }

  void encode(std::string_view word, std::vector<TokenId>* ids) const override;

 private:
  std::string_view text_of(std::int32_t id) const;
  // The id of a part of a merge; one past the vocabulary where it is no token.
  std::int32_t part_id(std::string_view text);
  void append_symbols(std::string_view word, std::vector<std::int32_t>* symbols) const;
  // What stands for a character that is no token; `pending`: an unknown token stands before it.
  void append_unknown(std::string_view text, bool* pending, std::vector<std::int32_t>* ids) const;
  // Whether a symbol is a token that stays as it is; else finish_symbols makes tokens of all from
  // `begin` on.
  bool is_final(std::int32_t symbol) const;
  void finish_symbols(std::size_t begin, std::vector<TokenId>* ids) const;
  void cut_again(TokenId id, const std::vector<bool>& unused, std::vector<TokenId>* out);

  Options options_;
  std::size_t count_ = 0;  // of real tokens
  // Characters are looked up in the vocabulary, bytes in a table: only the former keeps it.
  std::vector<std::string> owned_;
  const std::vector<std::string>* tokens_ = nullptr;
  std::deque<std::string> parts_;     // of ids past the vocabulary
  StringIndex symbols_;               // text -> id, while it loads or for characters
  std::optional<StringIndex> words_;  // bytes of a token -> id, for whole words
  std::deque<std::string> word_texts_;
  std::array<std::int32_t, 256> bytes_{};  // byte tokens: of the alphabet, or of the fallback
  std::optional<MergeTable> merges_;
  AddedTokens frozen_;
  std::vector<std::vector<TokenId>> replacements_;  // of unused tokens, by id; empty: none
};

// The longest token at the start of a word, then the longest continuation, and so on; a word with a
// part that is no token is the unknown token. Source: Wu et al. 2016; BERT's tokenization.py.
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
  std::size_t bytes_max_ = 0;  // of the longest token
};

}  // namespace troupe::model
