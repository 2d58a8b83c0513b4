#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>

// Finds out where the tokens of a prompt lie in its text, which the legacy endpoint reports. Pure.

namespace troupe::http {

// Returns the number of characters of `text` before each token. A token that the text does not
// contain, such as one that the tokenizer puts before every text, lies where the next one does.
std::vector<std::size_t> text_offsets(const model::Tokenizer& tokenizer,
                                      const std::vector<model::TokenId>& ids,
                                      std::string_view text);

// Returns the number of characters that begin in `bytes`.
std::size_t count_characters(std::string_view bytes);

}  // namespace troupe::http
