#pragma once

#include <string>

#include <troupe/model/jinja_ast.h>

// Runs a parsed template. Bounded in steps, depth and bytes, whatever the template says.

namespace troupe::model::jinja {

// `variables`: the names that the template finds. Errors name the line: kInvalidArgument when the
// template itself refuses (raise_exception), kResourceExhausted at a bound, kBadData else.
Result<std::string> evaluate(const Body& body, Dict variables);

}  // namespace troupe::model::jinja
