#pragma once

#include <string>

#include <troupe/model/jinja/builtin_parts.h>

namespace troupe::model::jinja {

// Returns object.name(arguments), for methods of strings, dicts and lists.
//   Errors: kBadData naming the line and what is not known or has the wrong type;
//   kResourceExhausted from the budget.
Result<Value> call_method(Budget* budget, int line, const Value& object, const std::string& name,
                          const Arguments& arguments);

}  // namespace troupe::model::jinja
