#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include <troupe/runtime/status.h>

// Files that hold secrets: keys and tokens. Any thread.

namespace troupe {

// Reads the whole file, if it is a regular file of this user to which nobody else has access. The
// check is made on the descriptor that is read, and a link at the end of the path is not followed,
// so that nobody can put another file in its place.
//   Errors: those of read_file; kPermissionDenied (a link, another owner, or access for others; the
//   text says what to do).
Result<std::string> read_private_file(const std::filesystem::path& path, std::size_t bytes_max);

}  // namespace troupe
