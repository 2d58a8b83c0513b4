#pragma once

#include <memory>
#include <string_view>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_parts.h>

// Tokenizers of Hugging Face folders, from the texts of their files. A field or value that is not
// known is an error, because half a tokenizer is none. Pure.
// Source: the serialized forms of the Rust crate `tokenizers`.

namespace troupe::model {

// Reads tokenizer.json, and tokenizer_config.json, which may be empty. The latter names special
// tokens, and has add_bos_token for a tokenizer.json without a post-processor.
//   Errors: kBadData naming the field and what is not known.
Result<std::shared_ptr<const Tokenizer>> tokenizer_from_json(std::string_view tokenizer_json,
                                                             std::string_view config_json);

// Reads the parts of the same tokenizer. `special_json` is special_tokens_map.json, for the special
// tokens that the config does not name; it may be empty.
//   Errors: as tokenizer_from_json.
Result<TokenizerParts> json_parts(std::string_view tokenizer_json, std::string_view config_json,
                                  std::string_view special_json);

}  // namespace troupe::model
