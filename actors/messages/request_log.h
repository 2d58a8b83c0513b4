#pragma once

#include <cstdint>
#include <string>

#include <troupe/runtime/log.h>

// Log lines of one request, which all daemons write alike. Any thread.

namespace troupe::actors {

// "request=17 TEXT", so that the log of every daemon can be searched for a request.
inline void log_request(LogLevel level, std::uint64_t request, const std::string& text) {
  if (log_enabled(level)) log(level, "request=" + std::to_string(request) + " " + text);
}

}  // namespace troupe::actors
