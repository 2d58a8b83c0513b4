#pragma once

#include <filesystem>
#include <string>

// Tells whether a blob of the store still is what was written. A verified blob is sealed: its
// modification time is set to a fixed one, and any later write changes that. So it is enough to
// check the file's metadata before each use; a blob that was touched is hashed again.

namespace troupe::model {

// Seals the open file `fd`, whose hash the caller has verified. Errors do not matter: the file will
// then be hashed at its first use.
void seal_blob(int fd);

// Returns true if the file at `path` is sealed, or if its hash is `sha256` (then it seals it). A
// file that was changed is removed, with a warning in the log. Returns false if there is no such
// file.
bool check_blob(const std::filesystem::path& path, const std::string& sha256);

}  // namespace troupe::model
