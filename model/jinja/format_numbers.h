#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/model/jinja/big_integer.h>

// Numbers as Python formats them. For format.cpp and the filters. Pure.

namespace troupe::model::jinja {

// A specification in parts: [[fill]align][sign][z][#][0][width][grouping][.precision][type].
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '=', or '\0' for the type's own
  char sign = '-';    // '+', '-' or ' '
  bool alternate = false;
  std::int64_t width = 0;
  char grouping = '\0';         // ',' or '_'
  std::int64_t precision = -1;  // -1: none
  char type = '\0';
};

// Returns false if the text is not a specification.
bool parse_format_spec(std::string_view text, FormatSpec* out);

// Returns the digits and signs of a number, without padding: the sign and prefix go to `lead`.
std::string format_real(double value, const FormatSpec& spec, std::string* lead);
std::string format_whole(const BigInteger& value, const FormatSpec& spec, std::string* lead);

// Returns `lead` and `body` filled up to the width. `align` is the alignment that the type has if
// the specification names none.
std::string padded(const std::string& lead, const std::string& body, const FormatSpec& spec,
                   char align);

}  // namespace troupe::model::jinja
