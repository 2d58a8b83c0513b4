#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/value.h>

// What filters, tests and methods share: their arguments, the rows of their tables, and common
// steps. For the .cpp files of this room. Pure, except that they take from the budget.

namespace troupe::model::jinja {

struct Arguments {
  std::vector<Value> positional;
  Names keywords;
  // Returns the argument at `index` or of that name, or nullptr if it is absent.
  const Value* get(std::size_t index, std::string_view name) const;
};

// One use of a filter or method: input | name(arguments), or input.name(arguments).
struct Use {
  Budget* budget;
  int line;
  const std::string& name;
  const Value& input;
  const Arguments& arguments;

  // Returns the argument at `index` or of that name, or nullptr if it is absent.
  const Value* get(std::size_t index, std::string_view argument) const {
    return arguments.get(index, argument);
  }
  bool flag(std::size_t index, std::string_view argument, bool fallback = false) const {
    const Value* found = get(index, argument);
    return found == nullptr ? fallback : truth(*found);
  }
};

// A filter or method.
struct Row {
  std::string_view name;
  std::string_view parameters;  // their names with spaces between; "*": any arguments
  Result<Value> (*run)(const Use&);
};

// Returns nullptr if there is no such row.
const Row* find_row(std::span<const Row> rows, std::string_view name);
// Runs the row.
//   Errors: kBadData if there are more arguments than it has parameters, or others; what the row
//   returns.
Result<Value> run_row(const Row& row, const Use& use);

Status wrong_type(int line, const std::string& doing, const Value& value);

// Returns what {{ value }} prints.
Result<std::string> text_of(int line, const Value& value);

// These return an argument of one type.
//   Errors: kBadData naming the argument.
Result<std::int64_t> integer_argument(int line, const Arguments& arguments, std::size_t index,
                                      std::string_view name, std::int64_t fallback);
Result<std::string> string_argument(int line, const Arguments& arguments, std::size_t index,
                                    std::string_view name);

// These return a new value, whose bytes they take from the budget.
Result<Value> counted(Budget* budget, int line, std::string text);
Result<Value> counted(Budget* budget, int line, List list);
// Takes from the budget what a search for `part` in `text` costs: at worst the product of their
// lengths.
Status take_search(Budget* budget, int line, std::string_view text, std::string_view part);

Result<Value> join(Budget* budget, int line, const List& items, const std::string& separator);
// Returns the pairs (key, value).
List dict_items(const Dict& dict);
// Returns the text with & < > " ' escaped for HTML. Text that is markup already stays as it is.
Result<Text> escaped(int line, const Value& value);

}  // namespace troupe::model::jinja
