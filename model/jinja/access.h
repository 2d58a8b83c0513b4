#pragma once

#include <string>
#include <string_view>

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/value.h>

// Iterates over values, searches them and joins them. Pure, except that it takes from the budget,
// and items from iterators.
//   Errors: kBadData naming the line and the wrong type; kResourceExhausted from the budget.

namespace troupe::model::jinja {

Result<bool> contains(Budget* budget, int line, const Value& container, const Value& item);
// Returns what a `for` iterates over: items, keys or characters, and nothing for undefined. The
// items of an iterator are taken from it.
Result<List> iterate(Budget* budget, int line, const Value& value);
// Returns a + b.
Result<Value> concatenate(Budget* budget, int line, const Value& a, const Value& b);

}  // namespace troupe::model::jinja
