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
  bool fetched = false;  // false: the store already had it
};
// Fetches a model into the store, or finds it there. Only one process at a time pulls into a store;
// a second one says that it waits.
//   Errors: those of fetch.h and hub.h; kAlreadyExists if another model has the name; kBadData if
//   the bytes do not have the expected hash: none of them are kept.
Result<Pulled> pull(model::Store& store, const std::string& home, const PullRequest& request);

// Holds unfinished transfers.
std::filesystem::path partial_folder(const std::string& home);
// Every command that changes a store holds this lock. Waits for another holder, and says so.
Result<FileLock> lock_store(const std::string& home);

}  // namespace troupe::tools
