#pragma once

#include <string>
#include <string_view>

#include <troupe/model/jinja/builtin_parts.h>

namespace troupe::model::jinja {

bool is_filter(std::string_view name);

// Returns input | name(arguments).
//   Errors: kBadData naming the line and what is not known or has the wrong type;
//   kResourceExhausted from the budget.
Result<Value> apply_filter(Budget* budget, int line, const std::string& name, const Value& input,
                           const Arguments& arguments);

}  // namespace troupe::model::jinja
