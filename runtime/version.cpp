#include <troupe/runtime/version.h>

namespace troupe {

const char* program_version() { return TROUPE_VERSION; }

}  // namespace troupe
