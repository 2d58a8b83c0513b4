#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/tokenizer/tokenizer_parts.h>
#include <troupe/runtime/text/utf8.h>

// Readers of the keys tokenizer.ggml.* of a GGUF header that every kind of tokenizer has. For
// tokenizer_gguf.cpp and tokenizer_gguf_sentences.cpp. Pure.
//   Errors: kBadData naming the key and the value.

namespace troupe::model {

// Returns kBadData with this sentence and what to do.
Status bad_token_key(const std::string& sentence);

// Returns an array of the header, which has the type T.
template <class T>
Result<const T*> token_array(const GgufHeader& header, std::string_view key) {
  const auto entry = header.metadata.find(key);
  if (entry == header.metadata.end()) {
    return bad_token_key("the metadata key " + in_quotes(key) + " is missing");
  }
  const T* values = std::get_if<T>(&entry->second);
  if (values == nullptr) {
    return bad_token_key("the metadata value of " + in_quotes(key) +
                         " is not an array of the expected type");
  }
  return values;
}

// Says whether the header lacks an array or has one without elements, of whatever type.
bool is_empty_token_array(const GgufHeader& header, std::string_view key);

struct GgufTokens {
  const std::vector<std::string>* texts = nullptr;  // of the header
  std::vector<TokenType> types;                     // of each
  std::size_t size() const { return types.size(); }
};
Result<GgufTokens> load_token_texts(const GgufHeader& header);
// Returns the score of each token, 0 if the header has none.
Result<std::vector<double>> load_token_scores(const GgufHeader& header, std::size_t tokens);

// Reads the id of a special token. Converters write "there is none" as -1 in some type, or as an id
// that no token has: such an id leaves `id` as it was, as in llama.cpp.
Status load_token_id(const GgufHeader& header, std::string_view key, std::size_t tokens,
                     TokenId* id);
// Reads a flag. Leaves `flag` as it was if there is no such key.
Status load_token_flag(const GgufHeader& header, std::string_view key, bool* flag);
// Loads BOS, EOS and the other ends, and the tokens that go around a text. The flags apply if the
// header does not say what to do.
Status load_special_tokens(const GgufHeader& header, bool add_bos, bool add_eos,
                           TokenizerParts* parts);

// Says whether tokens of this type are looked for in the text as markup.
bool is_markup(TokenType type);

}  // namespace troupe::model
