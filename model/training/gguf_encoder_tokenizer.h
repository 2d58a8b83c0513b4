#pragma once

#include <cstddef>

#include <troupe/model/files/gguf.h>

// Writes the tokenizer of an encoder's folder as the keys of a GGUF file: WordPiece, byte-level BPE
// or a unigram model, with one token before each text and one after it.

namespace troupe::model {

// Adds tokenizer.ggml.* to `out`, for `vocabulary` rows of the embedding. GGUF has no keys for what
// such a tokenizer does to a text before it cuts it; programs that read the file guess it from the
// kind of the tokenizer. So the new keys are read back, and texts of many scripts must give the ids
// that the folder's tokenizer gives.
//   Errors: kFailedPrecondition if the tokenizer is of another kind, or one that GGUF cannot
//   express.
Status add_gguf_encoder_tokenizer(const GgufHeader& folder, std::size_t vocabulary,
                                  GgufMetadata* out);

}  // namespace troupe::model
