#pragma once

#include <string>

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/value.h>

// Looks up parts of values as Jinja does in transformers' sandbox. Pure, except that it takes from
// the budget.
//   Errors: kBadData naming the line and the wrong type; kResourceExhausted from the budget.

namespace troupe::model::jinja {

// Returns object.name as Jinja has it, or undefined if there is none.
Result<Value> attribute_of(Budget* budget, int line, const Value& object, const std::string& name);
// Returns object[key], or undefined if there is none.
Result<Value> subscript(Budget* budget, int line, const Value& object, const Value& key);
// Returns what Python's getattr finds, without the entries of a dict, or undefined.
Result<Value> method_or_attribute(Budget* budget, int line, const Value& object,
                                  const std::string& name);
// Returns item["a"]["b"] for the string "a.b", and item[2] for the integer 2 or the string "2".
// A part that is undefined is `fallback`, unless that is null.
Result<Value> path_of(Budget* budget, int line, const Value& item, const Value& path,
                      const Value* fallback = nullptr);

}  // namespace troupe::model::jinja
