#pragma once

#include <string>
#include <string_view>

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/value.h>

// Parts of values, and values joined. Pure but for the budget.
//   Errors: kBadData naming the line and the wrong type; kResourceExhausted from the budget.

namespace troupe::model::jinja {

// Returns object.name as Jinja has it, or undefined if there is none.
Result<Value> attribute_of(Budget* budget, int line, const Value& object, const std::string& name);
// Returns object[key], or undefined if there is none.
Result<Value> subscript(Budget* budget, int line, const Value& object, const Value& key);
// Returns item.a.b for the string "a.b", and item[2] for the integer 2.
Result<Value> path_of(Budget* budget, int line, const Value& item, const Value& path);

Result<bool> contains(Budget* budget, int line, const Value& container, const Value& item);
// Returns what a `for` goes through: items, keys or characters, and nothing for undefined.
Result<List> iterate(Budget* budget, int line, const Value& value);
// Returns a + b.
Result<Value> concatenate(Budget* budget, int line, const Value& a, const Value& b);

// Says whether Python's dicts have a method of that name. For Jinja, `x.items` is this method and
// not the value under the key "items", and x["items"] is the method if there is no such key.
bool is_dict_method(std::string_view name);

}  // namespace troupe::model::jinja
