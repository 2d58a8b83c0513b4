#pragma once

#include <ctime>
#include <optional>

#include <troupe/model/jinja/ast.h>

// Runs a parsed template. Bounded in steps, depth and bytes, whatever the template says.

namespace troupe::model::jinja {

// `variables`: the names that the template finds. Errors name the line: kInvalidArgument when the
// template itself refuses (raise_exception), kResourceExhausted at a bound, kBadData else.
// What is foreign among the variables is marked in the result, however it came there.
// `now`: local time, for strftime_now; without it there is no such function.
Result<Text> evaluate(const Body& body, Dict variables, const std::optional<std::tm>& now);

}  // namespace troupe::model::jinja
