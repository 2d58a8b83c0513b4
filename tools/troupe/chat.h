#pragma once

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/signals.h>

// The interactive chat of `troupe run MODEL`. Main thread only.

namespace troupe::tools {

// Reads turns from stdin until its end or /exit and answers each, with the conversation so far.
// `request` gives model, sampling and limits; its messages grow. Ctrl-C stops an answer, not the
// chat. Returns the exit status.
int chat(Cluster& cluster, GenerateRequest request, SignalWatch& watch);

// Runs one request and prints the text on stdout as it comes; a signal on `watch` cancels it.
Result<GenerateResult> generate_streaming(Cluster& cluster, const GenerateRequest& request,
                                          SignalWatch& watch);
// Tokens per second, and who ran which layers, on stderr.
void say_summary(const GenerateResult& result);

}  // namespace troupe::tools
