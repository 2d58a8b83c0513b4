#pragma once

#include <memory>
#include <optional>
#include <string>

#include <troupe/actors/http/api_keys.h>
#include <troupe/actors/http/tls.h>
#include <troupe/actors/troupe/serve.h>

// The files that a running server reads again when they change: its API keys and its certificate.
// Blocks on the disk, and therefore runs on a thread of the pool.

namespace troupe::http {

// Which contents were read last.
struct FileStamps {
  std::string keys, tls;
};

// What has changed; absent for a file that is the same, or that the server does not have.
struct ChangedFiles {
  FileStamps stamps;
  std::optional<Result<std::shared_ptr<const ApiKeys>>> keys;
  std::optional<Result<std::shared_ptr<TlsContext>>> tls;
};
ChangedFiles read_changed_files(const ServeOptions& options, const FileStamps& seen);

}  // namespace troupe::http
