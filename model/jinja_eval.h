#pragma once

#include <troupe/model/jinja_ast.h>

// Runs a parsed template. Bounded in steps, depth and bytes, whatever the template says.

namespace troupe::model::jinja {

// `variables`: the names that the template finds. Errors name the line: kInvalidArgument when the
// template itself refuses (raise_exception), kResourceExhausted at a bound, kBadData else.
// What is foreign among the variables is marked in the result, however it came there.
Result<Text> evaluate(const Body& body, Dict variables);

}  // namespace troupe::model::jinja
