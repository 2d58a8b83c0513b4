#pragma once

#include <filesystem>
#include <string>

#include <troupe/model/store/store.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/fetch/sources.h>

// Fetches whole models into the store. Main thread only; progress goes to stderr.

namespace troupe::tools {

struct Pulled {
  model::ModelEntry entry;
  bool fetched = false;      // false if the store already had it
  std::string license = {};  // as the hub states it, or the terms of the catalogue; or ""
};
// Fetches a model into the store, or finds it there. Only one process at a time pulls into a store;
// a second one waits, and says so.
//   Errors: those of fetch.h, hub.h, pins.h and consent.h; kAlreadyExists (another model has the
//   name), kBadData (the bytes do not have the expected hash, and none of them are kept).
Result<Pulled> pull(model::Store& store, const std::string& home, const PullRequest& request);

// Returns the folder of unfinished transfers.
std::filesystem::path partial_folder(const std::string& home);
// Takes the lock that every command that changes a store holds. Waits for another holder, and says
// so.
Result<FileLock> lock_store(const std::string& home);

}  // namespace troupe::tools
