#pragma once

#include <optional>
#include <string>

#include <troupe/model/jinja_builtins.h>

// What filters, tests and methods share. For their .cpp files.

namespace troupe::model::jinja {

Status wrong_type(int line, const std::string& doing, const Value& value);

// Arguments of one type; kBadData naming the argument.
Result<std::int64_t> integer_argument(int line, const Arguments& arguments, std::size_t index,
                                      std::string_view name, std::int64_t fallback);
Result<std::string> string_argument(int line, const Arguments& arguments, std::size_t index,
                                    std::string_view name);

// A new value, taken from the budget.
Result<Value> counted(Budget* budget, int line, std::string text);
Result<Value> counted(Budget* budget, int line, List list);
// Looking for `part` in `text` takes, at worst, the product of their lengths.
Status take_search(Budget* budget, int line, std::string_view text, std::string_view part);

// item.a.b
Result<Value> path_of(Budget* budget, int line, const Value& item, const std::string& path);
Result<Value> join(Budget* budget, int line, const List& items, const std::string& separator);
// kBadData when the two cannot be ordered.
Result<bool> less(int line, const Value& a, const Value& b);
// [[key, value], ...]
Value dict_items(const Dict& dict);

// Filters that go through items; nullopt: none of these has that name.
Result<std::optional<Value>> items_filter(Budget* budget, int line, const std::string& name,
                                          const Value& input, const Arguments& arguments);
Result<Value> filter_sort(Budget* budget, int line, List items, const Arguments& arguments);

}  // namespace troupe::model::jinja
