#pragma once

#include <troupe/model/files/gguf.h>
#include <troupe/model/tokenizer/tokenizer_parts.h>

// The parts of SentencePiece's tokenizers in GGUF files. For tokenizer_gguf.cpp. Pure.
//   Errors: kBadData naming the key and the value.

namespace troupe::model {

// Reads the parts for tokenizer.ggml.model = llama: byte-pair encoding by scores.
Result<TokenizerParts> sentence_parts(const GgufHeader& header);
// Reads the parts for tokenizer.ggml.model = t5: the unigram model, as T5 and XLM-RoBERTa have it.
Result<TokenizerParts> unigram_parts(const GgufHeader& header);

}  // namespace troupe::model
