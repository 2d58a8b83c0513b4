#pragma once

#include <string>

#include <troupe/runtime/status.h>

// The ids by which people and shells name jobs and open answers. Pure but for the draw.

namespace troupe::actors {

// kInvalidArgument unless it has 1 to 64 letters, digits, '.', '_' or '-'.
Status check_job_id(const std::string& id);
// 12 random hexadecimal digits.
std::string drawn_id();

}  // namespace troupe::actors
