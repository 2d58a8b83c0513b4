#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/model/tokenizer/word_model.h>

// What a tokenizer is made of, whichever file says so. tokenizer_gguf.cpp and tokenizer_json.cpp
// fill it; assemble makes the Tokenizer.

namespace troupe::model {

struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;             // found in the text as it comes
  AddedTokens added_normalized;  // found in what the normalizers have left
  std::vector<Normalizer> normalizers;
  std::vector<Cut> cuts;
  std::unique_ptr<const WordModel> model;
  std::vector<TokenId> before, after;  // around a text where add_special
  bool drops_first_space = false;
  TokenId bos = -1, eos = -1, pad = -1;
  std::vector<TokenId> ends;  // further ends than the eos and well-known markup
};
std::shared_ptr<const Tokenizer> assemble(TokenizerParts parts);

Status normalize_text(const std::vector<Normalizer>& normalizers, std::string* text);

Result<TokenizerParts> byte_level_parts(const GgufHeader& header);  // tokenizer.ggml.model = gpt2
Result<TokenizerParts> sentence_parts(const GgufHeader& header);    // llama
Result<TokenizerParts> word_piece_parts(const GgufHeader& header);  // bert
// `special_json`: special_tokens_map.json, for the special tokens that the config does not name.
Result<TokenizerParts> json_parts(std::string_view tokenizer_json, std::string_view config_json,
                                  std::string_view special_json = {});

}  // namespace troupe::model
