#pragma once

#include <string>

#include <troupe/actors/troupe.h>

// Writes one request as a Chrome trace file (chrome://tracing, ui.perfetto.dev). It has a row for
// the request, and for each stage rows for what it computed, for what waited for it, and for the
// network before it. Pure.
//
// Clocks of two machines are never compared. The engine's clock gives the time of a step from the
// engine and back, and each stage's own clock gives what the stage waited and computed. The rest
// was spent in the network (and its actors), and is distributed evenly over the hops of the path.
// The connection between this program and the head's engine is assumed to take the same time in
// both directions.

namespace troupe::tools {

// Returns the JSON text. Times are microseconds since the call began.
std::string chrome_trace(const AnswerTrace& trace, const std::string& title);

}  // namespace troupe::tools
