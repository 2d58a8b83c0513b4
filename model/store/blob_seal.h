#pragma once

#include <filesystem>
#include <string>

// Whether a blob of the store still is what was written. A verified blob is sealed: its time of
// change is set to a fixed one, which whoever writes to the file later moves. So a look at the
// file's metadata is enough before each use, and a blob that was touched is hashed again.

namespace troupe::model {

// Seals the open file `fd`, whose hash the caller has verified. Errors are of no consequence: the
// file will be hashed at its first use.
void seal_blob(int fd);

// True when the file at `path` is sealed, or hashes to `sha256` (then it is sealed). A file that
// was changed is removed, with a warning in the log. False also when there is no such file.
bool check_blob(const std::filesystem::path& path, const std::string& sha256);

}  // namespace troupe::model
