#pragma once

#include <string>
#include <string_view>

#include <troupe/model/jinja/builtin_parts.h>

namespace troupe::model::jinja {

bool is_test(std::string_view name);

// Returns `input is name(arguments)`.
//   Errors: kBadData naming the line and what is not known or has the wrong type;
//   kResourceExhausted from the budget.
Result<bool> apply_test(Budget* budget, int line, const std::string& name, const Value& input,
                        const Arguments& arguments);

}  // namespace troupe::model::jinja
