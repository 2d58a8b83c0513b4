#pragma once

#include <cstddef>
#include <memory>

#include <troupe/model/files/gguf.h>
#include <troupe/model/tokenizer/tokenizer.h>

// Opens the tokenizer of a model, or a stand-in if it has none: such a model can be run with token
// ids and answers with token ids. Every program that runs a model uses it.

namespace troupe::model {

// Says whether the header describes a tokenizer.
bool has_tokenizer(const GgufHeader& header);
// Returns the error of an operation that needs texts: kFailedPrecondition, which says what to do.
Status no_tokenizer();

// Opens the header's tokenizer if it has one. Otherwise it opens one of `vocabulary` ids without
// texts: its pieces are empty, and encode() fails with kFailedPrecondition and asks for the ids of
// the prompt. `vocabulary` is the number of rows of the model's embedding; 0 if it is not known.
// Ids that have a row but no token have no text. Tokens without a row are in no vocabulary, and a
// text that has one is refused by encode() with kInvalidArgument.
//   Errors: as tokenizer_from_gguf.
Result<std::shared_ptr<const Tokenizer>> open_tokenizer(const GgufHeader& header,
                                                        std::size_t vocabulary);

}  // namespace troupe::model
