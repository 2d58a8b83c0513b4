#pragma once

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/value.h>

// Orders values. Pure, except that it takes from the budget.

namespace troupe::model::jinja {

// Says whether a < b. Lists are ordered by their first items that differ.
//   Errors: kBadData if the two cannot be ordered.
Result<bool> less(int line, const Value& a, const Value& b, int depth = 0);

// Takes from the budget what it costs to compare two values.
Status compared(Budget* budget, int line, const Value& a, const Value& b);

// Returns what filters compare: a string without its case unless `case_sensitive`, else the value.
Value comparable(const Value& value, bool case_sensitive);

struct SortOrder {
  // The parts that are compared, which a path names (path_of); if null, the items themselves. A
  // text may name several paths with commas between them.
  const Value* attribute = nullptr;
  bool reverse = false, case_sensitive = false;
};
// Sorts items; equal ones keep their order.
Result<Value> sorted(Budget* budget, int line, List items, const SortOrder& order);

}  // namespace troupe::model::jinja
