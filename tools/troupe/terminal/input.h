#pragma once

#include <string>

#include <troupe/runtime/status.h>

// Text that a verb reads: bounded, so that a wrong file is an error and not a full memory, and
// UTF-8 (kBadData names the file and the byte).

namespace troupe::tools {

constexpr std::size_t kTextBytesMax = 64u << 20;

// Everything on stdin.
Result<std::string> read_stdin();
// A file; "-" is stdin.
Result<std::string> read_text(const std::string& path);

}  // namespace troupe::tools
