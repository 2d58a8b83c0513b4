#pragma once

#include <string>

#include <troupe/runtime/status.h>

// Reads the text for a verb. It is bounded, so that a wrong file is an error and does not fill the
// memory, and must be UTF-8 (kBadData names the file and the byte).

namespace troupe::tools {

constexpr std::size_t kTextBytesMax = 64u << 20;

// Reads everything on stdin.
Result<std::string> read_stdin();
// Reads a file; "-" is stdin.
Result<std::string> read_text(const std::string& path);

}  // namespace troupe::tools
