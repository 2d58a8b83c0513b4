#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/tokenizer/tokenizer.h>

// The tokenizer that a model's header describes: with the keys tokenizer.ggml.* of a GGUF file, or
// with the texts of a Hugging Face folder (files/header_keys.h). Pure.
// Source: the GGUF specification, and what convert_hf_to_gguf.py of llama.cpp writes.

namespace troupe::model {

// Makes the tokenizer. tokenizer.ggml.model is gpt2 (byte-level BPE with the pre-tokenizer that
// tokenizer.ggml.pre names), llama (SentencePiece's BPE), t5 (its unigram model) or bert
// (WordPiece).
//   Errors: kBadData naming the key and the value.
Result<std::shared_ptr<const Tokenizer>> tokenizer_from_gguf(const GgufHeader& header);

// Returns the ids at which config.json says that generation ends; none if the header does not say.
// `vocabulary` is the number of tokens, or 0 if it is not known. Ids outside it are left out,
// because they are never generated.
std::vector<TokenId> end_token_ids(const GgufHeader& header, std::size_t vocabulary);

}  // namespace troupe::model
