#pragma once

#include <span>
#include <string>
#include <string_view>

#include <troupe/model/jinja/builtin_parts.h>

namespace troupe::model::jinja {

// Says whether values like `object` have a method of that name.
bool has_method(const Value& object, std::string_view name);

// Returns object.name(arguments), for methods of strings, dicts, lists and numbers.
//   Errors: kBadData naming the line and what is not known or has the wrong type;
//   kResourceExhausted from the budget.
Result<Value> call_method(Budget* budget, int line, const Value& object, const std::string& name,
                          const Arguments& arguments);

// Returns the error of a method that is not there.
Status no_method(int line, const Value& object, const std::string& name);

std::span<const Row> string_methods();  // methods_text.cpp

}  // namespace troupe::model::jinja
