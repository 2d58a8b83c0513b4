#pragma once

#include <string>

#include <troupe/runtime/status.h>

namespace troupe::model::jinja {

// Returns an error about a template. Every message about a template begins with its line.
Status template_error(int line, const std::string& what, Code code = Code::kBadData);

}  // namespace troupe::model::jinja
