#pragma once

#include <cstdint>
#include <string>

namespace troupe::tools {

// Returns a moment as people of this machine's time zone read it: "2026-05-01 13:45:09". Any
// thread.
std::string time_text(std::int64_t unix_ms);

}  // namespace troupe::tools
