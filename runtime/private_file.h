#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include <troupe/runtime/status.h>

// Files that hold secrets: keys and tokens. Any thread.

namespace troupe {

// The whole file, if it is a regular file of this user that nobody else can reach. The check is of
// the descriptor that is read, and a link at the end of the path is not followed, so that nobody
// can put another file in its place.
//   Errors: those of read_file; kPermissionDenied (a link, another owner, or others can reach it),
//   which says what to do.
Result<std::string> read_private_file(const std::filesystem::path& path, std::size_t bytes_max);

}  // namespace troupe
