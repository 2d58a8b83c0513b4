#pragma once

#include <string>

#include <troupe/actors/troupe/serve.h>
#include <troupe/runtime/status.h>

// How long a server keeps streams for clients that come back: `serve --keep-streams`, and
// `start --http-keep-streams`. Pure.

namespace troupe::tools {

// Sets the time from "10m"; 0 means never, so that no prompt is written to the disk.
//   Errors: kInvalidArgument (names `flag`).
Status keep_streams(const std::string& time, const std::string& flag, ServeOptions* serve);

}  // namespace troupe::tools
