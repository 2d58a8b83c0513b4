#pragma once

// Which release of Troupe this program was built from.

namespace troupe {

// Such as "0.1.0". Any thread.
const char* program_version();

}  // namespace troupe
