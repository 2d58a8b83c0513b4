#pragma once

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/terminal/signals.h>

// The interactive chat of `troupe run MODEL`. Main thread only.

namespace troupe::tools {

// Reads turns from stdin until its end or /bye and answers each, with the conversation so far.
// `request` has model, sampling and limits; its messages grow. Ctrl-C stops an answer, but not the
// chat. With `plain`, the model has no chat template, so a turn is the text so far followed by the
// new text. Returns the exit status.
int chat(Cluster& cluster, GenerateRequest request, bool plain, SignalWatch& watch);

// Prints a token's text on stdout. Returns false, which cancels the request, if `watch` has seen a
// signal.
bool show_token(const TokenEvent& event, SignalWatch& watch);
// Prints on stderr the tokens per second, and which node ran which layers.
void say_summary(const GenerateResult& result);
// If the answer to `request` was cut off, prints a line on stderr that says by which limit.
void say_cut_off(const GenerateRequest& request, const GenerateResult& result);

}  // namespace troupe::tools
