#pragma once

#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

namespace troupe::model {

// Translates a regular expression of Oniguruma, in Ruby's syntax and Unicode, into PCRE2's
// language. For regex.cpp. Pure.
//   - "{n,m}+" repeats, it is not possessive; "{n}?" makes optional; "{,n}" begins at 0
//   - classes may hold classes and have intersections ("&&"), negated shorthands and POSIX names
//   - \h is a hexadecimal digit, \R a line end, \b the border of Oniguruma's own words
//   - (?m) lets the dot match a line end
// The general categories are those of Unicode 16 (unicode_tables.h).
//   Errors: kBadData names the pattern and what cannot be used.
// Source: doc/RE of Oniguruma 6.9.
Result<std::string> translate_regex(std::string_view pattern);

}  // namespace troupe::model
