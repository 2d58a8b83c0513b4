#pragma once

#include <string>

#include <troupe/model/files/gguf.h>

// Writes the tokenizer of a GGUF file as Hugging Face's files, for the folder of a trained model.
// The tokenizer that is read from these files gives the same ids.

namespace troupe::model {

struct TokenizerTexts {
  std::string tokenizer_json, tokenizer_config_json, generation_config_json;
};

// Errors: kFailedPrecondition if the tokenizer is of a kind that cannot be written yet
// (SentencePiece, WordPiece); kBadData as tokenizer_from_gguf.
Result<TokenizerTexts> gguf_tokenizer_texts(const GgufHeader& header);

}  // namespace troupe::model
