#pragma once

#include <cstddef>

#include <nlohmann/json_fwd.hpp>

#include <troupe/model/files/gguf.h>

// Writes the tokenizer of a Hugging Face folder as the keys of a GGUF file, the reverse of
// gguf_tokenizer_text.h.

namespace troupe::model {

// Adds tokenizer.ggml.* and tokenizer.chat_template to `out`, for `vocabulary` rows of the
// embedding: ids without a token get an unused one.
//   Errors: kFailedPrecondition if the tokenizer is of a kind that cannot be written yet (anything
//   but byte-level BPE, or a pre-tokenizer for which GGUF has no name).
Status add_gguf_tokenizer(const GgufHeader& folder, std::size_t vocabulary, GgufMetadata* out);

// The next two functions are parts of add_gguf_tokenizer that the tokenizers of encoders share
// (gguf_encoder_tokenizer.h). `file` is tokenizer.json. The first one adds the texts and the types
// of all ids.
//   Errors: kFailedPrecondition if there are more ids than rows. It may throw the exceptions of the
//   JSON library.
Status add_gguf_tokens(const nlohmann::json& file, std::size_t vocabulary, GgufMetadata* out);
// The second one adds a byte-level BPE, but no ids of marks. The errors are those of the two
// functions above.
Status add_gguf_bpe(const nlohmann::json& file, std::size_t vocabulary, GgufMetadata* out);

}  // namespace troupe::model
