#pragma once

#include <string>

#include <troupe/runtime/status.h>

// The ids by which people and shells name jobs and open answers. Pure, except for the random draw.

namespace troupe::actors {

// Checks an id. Errors: kInvalidArgument unless it has 1 to 64 letters, digits, '.', '_' or '-'.
Status check_job_id(const std::string& id);
// Draws an id of 12 random hexadecimal digits.
std::string drawn_id();

}  // namespace troupe::actors
