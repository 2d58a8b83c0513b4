#pragma once

#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

namespace troupe::model::jinja {

// Returns the text without HTML's comments and tags, with runs of white space as one space, and
// with the characters that entities stand for.
//   Errors: kBadData for a named entity that is none of the common ones.
// Source: Markup.striptags of Python's markupsafe.
Result<std::string> without_tags(std::string_view text);

}  // namespace troupe::model::jinja
