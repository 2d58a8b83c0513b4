#pragma once

#include <memory>
#include <string_view>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_parts.h>

// Tokenizers of Hugging Face folders, from the texts of their files. A field or value that is not
// known is an error, because half a tokenizer is of no use. Pure.
// Source: the serialized forms of the Rust crate `tokenizers`.

namespace troupe::model {

// The texts of a folder's files; all but the first may be empty.
struct TokenizerFiles {
  std::string_view tokenizer_json;
  // Names special tokens and their flags, and has the flags of BERT's normalizer. It also has
  // add_bos_token, which counts if tokenizer.json does not say what goes around a text.
  std::string_view tokenizer_config_json = {};
  std::string_view special_tokens_map_json = {}, added_tokens_json = {};
  std::string_view config_json = {};  // says to which family a tokenizer without a class belongs
};

// Errors: kBadData naming the file, the field and what is not known.
Result<std::shared_ptr<const Tokenizer>> tokenizer_from_json(const TokenizerFiles& files);

// Reads the parts of the same tokenizer.
//   Errors: as tokenizer_from_json.
Result<TokenizerParts> json_parts(const TokenizerFiles& files);

}  // namespace troupe::model
