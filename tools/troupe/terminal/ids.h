#pragma once

#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>

// Token ids as people write them: "1,2,3".

namespace troupe::tools {

// Errors: kInvalidArgument (says from where on the text cannot be read; `flag` is where it came
// from).
Result<std::vector<model::TokenId>> parse_ids(const std::string& text, const std::string& flag);

}  // namespace troupe::tools
