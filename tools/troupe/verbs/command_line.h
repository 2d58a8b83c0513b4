#pragma once

// The command line of `troupe`.

namespace troupe::tools {

// Parses the arguments and runs one verb. Returns the exit status: 0, 1 for a failure, 2 for wrong
// usage. Errors are reported on stderr, with --json also on stdout.
int run_command(int argc, char** argv);

}  // namespace troupe::tools
