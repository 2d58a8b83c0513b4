#pragma once

#include <optional>
#include <string>
#include <vector>

#include <troupe/tools/troupe/fetch/fetch.h>

// Where a model comes from: looks up the source that `troupe pull` was given in the catalogue or
// at the hub.

namespace troupe::tools {

struct PullRequest {
  std::string source;                 // a catalogue name, hf://, https:// or pypi://
  std::string name;                   // "": the catalogue's name, or the file's
  std::optional<std::string> sha256;  // must match; the catalogue has its own
  FetchLimits limits = {};
};

struct Source {
  std::string address;            // what is fetched, for people
  std::string name;               // the model's name in the store
  std::vector<RemoteFile> files;  // fetched over HTTP; empty for pypi://
  std::string pypi;               // a pypi:// address, or ""
  bool several = false;           // a folder, or a GGUF file in parts
  // The hash of the file, or of the listing of several (listing_sha256). Absent: unknown.
  std::optional<std::string> sha256;
  std::uint64_t bytes = 0;  // of all files together; 0: unknown
};

// Contacts only the hub, and only for hf://.
//   Errors: kInvalidArgument (no such kind of address; --sha256 that cannot be), those of hub.h.
Result<Source> find_source(const PullRequest& request);

}  // namespace troupe::tools
