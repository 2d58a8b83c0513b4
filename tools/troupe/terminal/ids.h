#pragma once

#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>

// Token ids as people write them: "1,2,3".

namespace troupe::tools {

// Errors: kInvalidArgument (says where the text cannot be read; `flag` names its source).
Result<std::vector<model::TokenId>> parse_ids(const std::string& text, const std::string& flag);

}  // namespace troupe::tools
