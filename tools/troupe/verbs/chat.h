#pragma once

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/terminal/signals.h>

// The interactive chat of `troupe run MODEL`. Main thread only.

namespace troupe::tools {

// Reads turns from stdin until its end or /bye and answers each, with the conversation so far.
// `request` gives model, sampling and limits; its messages grow. Ctrl-C stops an answer, not the
// chat. `plain`: the model has no chat template, so a turn is the text so far and what is written.
// Returns the exit status.
int chat(Cluster& cluster, GenerateRequest request, bool plain, SignalWatch& watch);

// Prints a token's text on stdout; false, which cancels the request, after a signal on `watch`.
bool show_token(const TokenEvent& event, SignalWatch& watch);
// Tokens per second, and who ran which layers, on stderr.
void say_summary(const GenerateResult& result);
// Where the answer to `request` was cut off, if it was: a line on stderr that says by which limit.
void say_cut_off(const GenerateRequest& request, const GenerateResult& result);

}  // namespace troupe::tools
