#pragma once

#include <cstddef>

#include <troupe/model/files/gguf.h>

// The tokenizer of a Hugging Face folder as the keys of a GGUF file, the other direction of
// gguf_tokenizer_text.h.

namespace troupe::model {

// Adds tokenizer.ggml.* and tokenizer.chat_template to `out`, for `vocabulary` rows of the
// embedding: ids without a token get an unused one.
//   Errors: kFailedPrecondition if the tokenizer is of a kind that cannot be written yet (anything
//   but byte-level BPE, or a pre-tokenizer that GGUF has no name for).
Status add_gguf_tokenizer(const GgufHeader& folder, std::size_t vocabulary, GgufMetadata* out);

}  // namespace troupe::model
