#pragma once

#include <span>
#include <string>

#include <troupe/model/jinja/builtins.h>

// What filters, tests and methods share, and their tables. For their .cpp files.

namespace troupe::model::jinja {

// One use of a filter or method: input | name(arguments), input.name(arguments).
struct Use {
  Budget* budget;
  int line;
  const std::string& name;
  const Value& input;
  const Arguments& arguments;

  // The argument at `index` or of that name; nullptr when absent.
  const Value* get(std::size_t index, std::string_view argument) const {
    return arguments.get(index, argument);
  }
  bool flag(std::size_t index, std::string_view argument, bool fallback = false) const {
    const Value* found = get(index, argument);
    return found == nullptr ? fallback : truth(*found);
  }
};

struct Row {
  std::string_view name;
  std::string_view parameters;  // their names with spaces between; "*": whatever there is
  Result<Value> (*run)(const Use&);
};
std::span<const Row> text_filters();
std::span<const Row> item_filters();
std::span<const Row> value_filters();  // of numbers, dicts, anything
std::span<const Row> string_methods();

// nullptr: not there.
const Row* find_row(std::span<const Row> rows, std::string_view name);
// Runs the row; kBadData when there are more arguments than it knows, or others.
Result<Value> run_row(const Row& row, const Use& use);

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

// item.a.b for the string "a.b", item[2] for the integer 2.
Result<Value> path_of(Budget* budget, int line, const Value& item, const Value& path);
Result<Value> join(Budget* budget, int line, const List& items, const std::string& separator);
// kBadData when the two cannot be ordered. Lists are ordered by their first items that differ.
Result<bool> less(int line, const Value& a, const Value& b, int depth = 0);
// A number without a fraction; booleans are 0 and 1, as in Python.
bool to_integer(const Value& value, std::int64_t* out);
// [[key, value], ...]
Value dict_items(const Dict& dict);

// Stable; by item, or by what `attribute` names; case counts for strings with `case_sensitive`.
struct SortOrder {
  const Value* attribute = nullptr;
  bool reverse = false, case_sensitive = false;
};
Result<Value> sorted(Budget* budget, int line, List items, const SortOrder& order);

}  // namespace troupe::model::jinja
