#pragma once

#include <troupe/model/tokenizer/tokenizer.h>

// Checks that two models give their token ids the same meaning, which distillation needs. Pure.

namespace troupe::model {

// Errors: kInvalidArgument naming the first token id whose text differs, or the two sizes.
Status check_same_vocabulary(const Tokenizer& model, const Tokenizer& teacher);

}  // namespace troupe::model
