#pragma once

// The release of Troupe from which this program was built.

namespace troupe {

// Returns the version, such as "0.1.0". Any thread.
const char* program_version();

}  // namespace troupe
