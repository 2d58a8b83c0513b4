#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <troupe/model/store/store.h>

// Turns MODEL as people write it into a file: a catalogue name (pulled if the store lacks it), a
// path, model:HEX, sha256:HEX, or the name of a model that another program has fetched. Main thread
// only; progress goes to stderr.

namespace troupe::tools {

Result<std::shared_ptr<model::Store>> open_store(const std::string& home);

// Makes sure that this machine has `name` and returns what to pass to Cluster::generate: an
// absolute path, or `name` itself. With `remote`, a sha256 that this store lacks is passed on,
// because the cluster may have the model.
Result<std::string> prepare_model(model::Store& store, const std::string& home,
                                  const std::string& name, bool remote);
// Returns the file itself, for verbs that compute in this process.
Result<std::filesystem::path> model_file(model::Store& store, const std::string& home,
                                         const std::string& name);

// Returns the path of MODEL with the adapter in the folder `adapter`, as one model, to be passed on
// instead of `ready`, which prepare_model returned. Checks that the two fit.
//   Errors: kInvalidArgument if this machine does not have the model, or the adapter does not fit.
Result<std::string> adapted_model(model::Store& store, const std::string& home,
                                  const std::string& ready, const std::string& adapter);

}  // namespace troupe::tools
