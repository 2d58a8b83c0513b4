#pragma once

#include <ctime>
#include <optional>

#include <troupe/model/jinja/ast.h>

// Runs a parsed template. Steps, depth and bytes are bounded, whatever the template says. Any
// thread may call.

namespace troupe::model::jinja {

// `variables` are the names that the template finds. Bytes of the result that come from foreign
// variables are marked. `now` is the local time for strftime_now; without it there is no such
// function.
//   Errors name the line: kInvalidArgument if the template itself refuses (raise_exception),
//   kResourceExhausted at a bound, else kBadData.
Result<Text> evaluate(const Body& body, Names variables, const std::optional<std::tm>& now);

}  // namespace troupe::model::jinja
