#pragma once

#include <cstddef>
#include <string>

#include <troupe/model/jinja/value.h>

namespace troupe::model::jinja {

// Returns what Python's pprint.pformat makes of a value: its repr on lines of at most 80 columns,
// with the keys of dicts in order. Pure.
//   Errors: kResourceExhausted if it is nested too deeply or grows past `bytes_max`.
Result<std::string> to_pretty(const Value& value, std::size_t bytes_max);

}  // namespace troupe::model::jinja
