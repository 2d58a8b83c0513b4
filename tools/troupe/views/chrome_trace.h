#pragma once

#include <string>

#include <troupe/actors/troupe.h>

// One request as a Chrome trace file (chrome://tracing, ui.perfetto.dev): a row of the request and,
// for each stage, rows of what it computed, of what waited for it, and of the wire before it. Pure.
//
// No two machines' clocks are compared. A step's time from the engine and back is known from the
// engine's clock, what each stage waited and computed from the stage's own; the rest was the wire
// (and the actors on it), and is shared out evenly over the hops of the path. The way between this
// program and the head's engine is taken for as long there as back.

namespace troupe::tools {

// The JSON text. Moments are microseconds since the call began.
std::string chrome_trace(const AnswerTrace& trace, const std::string& title);

}  // namespace troupe::tools
