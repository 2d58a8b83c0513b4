#pragma once

#include <cstddef>
#include <memory>

#include <troupe/model/tokenizer/tokenizer.h>

// The tokenizer of a model, or a stand-in where it has none: such a model can be run with token
// ids and answers with token ids. Used by whoever runs a model.

namespace troupe::model {

// Int array in the header of a folder: the ids at which config.json says that generation ends.
constexpr std::string_view kEndTokensKey = "troupe.end_token_ids";

// These ids; kBadData for one that is not in the vocabulary.
Result<std::vector<TokenId>> end_token_ids(const GgufHeader& header, std::size_t vocabulary);

// Whether the header has a tokenizer's texts.
bool has_tokenizer(const GgufHeader& header);
// What an operation that needs texts answers where it has none: kFailedPrecondition, says what to
// do.
Status no_tokenizer();

// Tokenizer::from_gguf when the header has one; else one of `vocabulary` ids without texts, whose
// encode() is kFailedPrecondition, asks for a prompt's ids, and whose pieces are empty.
// `vocabulary`: rows of the model's embedding; 0 when nobody knows. Ids behind the tokenizer's and
// within the rows have no text.
//   Errors: as from_gguf; kBadData for a token of texts, or an end, that the model has no row for.
Result<std::shared_ptr<const Tokenizer>> open_tokenizer(const GgufHeader& header,
                                                        std::size_t vocabulary);

}  // namespace troupe::model
