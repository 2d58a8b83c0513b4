#pragma once

#include <optional>
#include <string>
#include <vector>

#include <troupe/tools/troupe/models.h>

// Where a model comes from: what `troupe pull` was given, looked up in the catalogue or at the hub.

namespace troupe::tools {

struct Source {
  std::string address;            // what is fetched, for people
  std::string name;               // the model's in the store
  std::vector<RemoteFile> files;  // over HTTP; none for pypi://
  std::string pypi;               // or pypi://...
  bool several = false;           // a folder, or a GGUF file in parts
  // Of the file; of several, their listing (model/store/store.h). Absent: nobody says.
  std::optional<std::string> sha256;
  std::uint64_t bytes = 0;  // of all; 0: unknown
};

// Asks the hub for hf://, and nobody else.
//   Errors: kInvalidArgument (no such kind of address; --sha256 that cannot be), those of hub.h.
Result<Source> find_source(const PullRequest& request);

}  // namespace troupe::tools
