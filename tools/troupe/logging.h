#pragma once

#include <troupe/runtime/log.h>

// Gives the library a voice on stderr. Called once by each verb before it does anything.

namespace troupe::tools {

// Messages from `least` up; one --verbose lowers it by a level. TROUPE_LOG (debug, info, warning,
// error, off) has the last word.
void set_up_logging(LogLevel least, int verbose);

}  // namespace troupe::tools
