#pragma once

#include <filesystem>
#include <string>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/fetch/sources.h>

// What a hub stated about each file when it was first pulled, in HOME/store/pins.json. A later pull
// of a file that has changed is refused until the user accepts the change, even if the model was
// removed in between. For callers that hold the lock on the store.

namespace troupe::tools {

// Compares what the hub states about the files of `source` with what it stated before.
//   Errors: kFailedPrecondition (a file has changed; says what to do), kBadData (the pins cannot be
//   read).
Status check_pins(const std::filesystem::path& home, const Source& source);

// Says whether the store's model `sha256` is what was pulled from the places of `source` before.
bool is_pinned_model(const std::filesystem::path& home, const Source& source,
                     const std::string& sha256);

// Records what the hub stated, and that the store's model `sha256` was made from it.
Status remember_pins(const std::filesystem::path& home, const Source& source,
                     const std::string& sha256);

}  // namespace troupe::tools
