#pragma once

#include <string>

#include <troupe/runtime/log.h>
#include <troupe/runtime/status.h>

// Prints the library's log on stderr. Each verb calls it once, before it does anything.

namespace troupe::tools {

// Prints messages from `least` up; each --verbose lowers that by one level. TROUPE_LOG (debug,
// info, warning, error, off) overrides this, and `level`, one of the same words, overrides even
// TROUPE_LOG.
void set_up_logging(LogLevel least, int verbose, const std::string& level = "");
// True for the words that TROUPE_LOG accepts.
bool is_log_level(const std::string& text);
// Checks TROUPE_LOG before any verb runs.
//   Errors: kInvalidArgument (it is set to another word).
Status check_log_variable();

}  // namespace troupe::tools
