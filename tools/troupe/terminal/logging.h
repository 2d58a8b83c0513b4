#pragma once

#include <string>

#include <troupe/runtime/log.h>
#include <troupe/runtime/status.h>

// Gives the library a voice on stderr. Called once by each verb before it does anything.

namespace troupe::tools {

// Messages from `least` up; one --verbose lowers it by a level. TROUPE_LOG (debug, info, warning,
// error, off) has the last word, `level`, a word like these, the very last.
void set_up_logging(LogLevel least, int verbose, const std::string& level = "");
// True for the words that TROUPE_LOG takes.
bool is_log_level(const std::string& text);
// kInvalidArgument when TROUPE_LOG is set to something else. Called before any verb runs.
Status check_log_variable();

}  // namespace troupe::tools
