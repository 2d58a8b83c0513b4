#pragma once

#include <string>
#include <string_view>

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/builtin_parts.h>

// Python's three ways to write values into a text: "..." % values, "...".format(values), and
// format(value, specification). Pure, except that it takes from the budget.
//   Errors: kBadData naming the line and what is wrong; kResourceExhausted from the budget.
// Source: the sections "printf-style String Formatting" and "Format String Syntax" of Python's
// library reference.

namespace troupe::model::jinja {

// Returns format % arguments.
Result<Value> format_percent(Budget* budget, int line, const Value& format, const Value& arguments);

// Returns format.format(*positional, **keywords). `names` is a dict that format_map() looks keys up
// in, or null.
Result<Value> format_braces(Budget* budget, int line, const Text& format,
                            const Arguments& arguments, const Value* names);

// Returns format(value, specification), as in "{:>8}".
Result<std::string> format_value(Budget* budget, int line, const Value& value,
                                 std::string_view specification);

}  // namespace troupe::model::jinja
