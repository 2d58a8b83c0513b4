#pragma once

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/daemon/settings.h>

// Where a node's token comes from. A token in the command line can be read by every user of the
// machine while the command runs, so there are other ways to give it.

namespace troupe::tools {

// Replaces --join by the contents of the file of --join-file, or by the line on stdin for `--join
// -`. The text may be TOKEN@HOST:PORT or the whole command that the head printed. Warns if a token
// was in the command line.
//   Errors: kInvalidArgument (both are given), kNotFound and kPermissionDenied (the file), kBadData
//   (it holds no TOKEN@HOST:PORT).
Status find_join(Settings* settings);

// Overwrites the tokens of --join and --cluster in the arguments of the process, which `ps` shows.
// Call it when they have been read.
void hide_tokens(int argc, char** argv);

}  // namespace troupe::tools
