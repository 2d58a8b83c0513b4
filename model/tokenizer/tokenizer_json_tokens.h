#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// The tokens of a Hugging Face folder: those of tokenizer.json, and those that only the other files
// name. For tokenizer_json.cpp. Pure.
// Source: AddedVocabulary of Hugging Face's tokenizers, and what transformers 5 adds to it
// (tokenization_utils_base.py and tokenization_utils_tokenizers.py).

namespace troupe::model {

// Returns a field of an object, or null if it is absent.
const nlohmann::json& json_field(const nlohmann::json& object, std::string_view field);
// Reads a token id. `where` names the place in messages.
Result<TokenId> json_token_id(const nlohmann::json& value, const std::string& where);

struct NamedToken {
  AddedToken token;
  bool normalized = false;  // looked for in the normalized text
};

// Every token by its id, before the parts of a tokenizer are made.
class TokenTable {
 public:
  // Reads "vocab" of the model, an object of texts and ids.
  //   Errors: kBadData names the token.
  Status read_vocabulary(const nlohmann::json& vocabulary);
  // Reads "vocab" of a Unigram model, a list of pairs of a text and a score, whose places are ids.
  // scores: one for each token.
  //   Errors: kBadData names the token.
  Status read_scored_vocabulary(const nlohmann::json& vocabulary, std::vector<double>* scores);
  // Reads "added_tokens" of tokenizer.json, which may be null.
  Status read_added(const nlohmann::json& list);

  // Adds a token, or replaces the flags of the added token of the same text. Its id is that of the
  // text if there is one, else the next free one.
  void add(NamedToken named);

  // Returns -1 if there is no such token.
  TokenId find(std::string_view text) const;
  bool is_added(std::string_view text) const { return added_ids_.contains(text); }
  // Says whether an added token has this id.
  bool has_added(TokenId id) const;
  const std::vector<std::string>& texts() const { return texts_; }  // by id; "" if there is none
  const std::vector<NamedToken>& added() const { return added_; }

 private:
  std::vector<std::string> texts_;  // of the vocabulary
  std::size_t vocabulary_size_ = 0;
  std::map<std::string, TokenId, std::less<>> ids_;  // of the vocabulary
  std::map<std::string, TokenId, std::less<>> added_ids_;
  std::vector<NamedToken> added_;
};

// Adds the tokens that tokenizer_config.json, special_tokens_map.json and added_tokens.json name.
// An absent file is an empty object. Returns the fields of `config`, such as "bos_token", after the
// special tokens map has replaced some of them.
//   Errors: kBadData names the file and the field.
Result<nlohmann::json> add_folder_tokens(const nlohmann::json& config,
                                         const nlohmann::json& special_tokens_map,
                                         const nlohmann::json& added_tokens, TokenTable* table);

// Returns the text of a special token, which a file writes as a text or as an object with flags;
// "" if it is neither.
std::string special_token_text(const nlohmann::json& value);

}  // namespace troupe::model
