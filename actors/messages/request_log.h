#pragma once

#include <cstdint>
#include <string>

#include <troupe/runtime/log.h>

// Log lines about one request, in the form that all daemons share. Any thread.

namespace troupe::actors {

// Logs "request=17 TEXT", so that every daemon's log can be searched for a request.
inline void log_request(LogLevel level, std::uint64_t request, const std::string& text) {
  if (log_enabled(level)) log(level, "request=" + std::to_string(request) + " " + text);
}

}  // namespace troupe::actors
