#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/model/tokenizer/bpe.h>
#include <troupe/model/tokenizer/string_index.h>
#include <troupe/model/tokenizer/word_model.h>
#include <troupe/runtime/status.h>

namespace troupe::model {

// Byte-pair encoding (bpe.h) over bytes or characters, with the merges that a file lists or with
// SentencePiece's scores. Immutable once loaded; any thread may encode.
class BpeModel final : public WordModel {
 public:
  struct Options {
    bool byte_level = false;     // the symbols are bytes, else characters
    bool whole_words = false;    // a word that is a token as a whole is taken without merging
    bool byte_fallback = false;  // a character without a token becomes the tokens of its bytes
    bool fuse_unknown = false;   // neighbours without tokens become one unknown token
    TokenId unknown = -1;        // -1: characters without tokens are left out
  };
  // `tokens` are in the order of their ids, as the file writes them ("" is not a token). They must
  // outlive load_merges.
  BpeModel(Options options, const std::vector<std::string>& tokens);
  BpeModel(const BpeModel&) = delete;
  BpeModel& operator=(const BpeModel&) = delete;

  // Loads merges in the order of their ranks. A part that is not a token gets an id past the
  // vocabulary if `parts_may_be_unknown`. `what` names the list in messages.
  //   Errors: kBadData for a part that is not a token.
  Status load_merges(const std::vector<std::pair<std::string_view, std::string_view>>& merges,
                     bool parts_may_be_unknown, std::string_view what);
  // Scored merges make no token of more than kScoredBytesMax bytes, and no token of more than
  // kUnusedBytesMax bytes is cut again. No trainer makes such tokens, and the time grows with the
  // square and the cube of the length.
  static constexpr std::size_t kScoredBytesMax = 256, kUnusedBytesMax = 64;
  // Loads SentencePiece's scores: two symbols merge if together they are a token, those with the
  // highest score first. merges[id] says that a merge may make the token, and unused[id] that the
  // token is then cut again.
  void load_scores(const std::vector<double>& scores, const std::vector<bool>& merges,
                   const std::vector<bool>& unused);
  // Sets the texts that are one symbol each and never merge.
  void set_frozen(AddedTokens frozen) { frozen_ = std::move(frozen); }

  void encode(std::string_view word, std::vector<TokenId>* ids) const override;
  std::size_t fewest_tokens(std::size_t bytes) const override;

 private:
  // Returns the id of a part of a merge. A part that is not a token gets a new id after those of
  // the vocabulary.
  std::int32_t part_id(std::string_view text);
  void append_symbols(std::string_view word, std::vector<std::int32_t>* symbols) const;
  // Appends the tokens that stand for a character without a token. `pending` says that an unknown
  // token comes before the character.
  void append_unknown(std::string_view text, bool* pending, std::vector<std::int32_t>* ids) const;
  // Says whether a symbol is a token that stays as it is. If one is not, finish_symbols makes
  // tokens of all symbols from `begin` on.
  bool is_final(std::int32_t symbol) const;
  void finish_symbols(std::size_t begin, std::vector<TokenId>* ids) const;
  void cut_again(TokenId id, const std::vector<bool>& unused, std::vector<TokenId>* out);

  Options options_;
  std::size_t count_ = 0;    // number of real tokens
  std::size_t longest_ = 1;  // bytes of the longest token, as the file writes it
  // Characters are looked up in the vocabulary, which is then kept; bytes are looked up in a table.
  std::vector<std::string> owned_;
  const std::vector<std::string>* tokens_ = nullptr;
  std::deque<std::string> parts_;     // texts of the ids past the vocabulary
  StringIndex symbols_;               // text -> id; needed while loading, and later for characters
  std::optional<StringIndex> words_;  // bytes of a token -> id, for whole words
  std::deque<std::string> word_texts_;
  std::array<std::int32_t, 256> bytes_{};  // ids of bytes: of the alphabet, or of the fallback
  std::optional<MergeTable> merges_;
  AddedTokens frozen_;
  std::vector<std::vector<TokenId>> replacements_;  // of unused tokens by id; empty: none
};

}  // namespace troupe::model
