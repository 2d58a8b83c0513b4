#pragma once

#include <string>
#include <string_view>

// Recognizes files that people mistake for a model's file, by their first bytes: failed downloads,
// and weights in formats of other programs. For error messages. Pure.

namespace troupe {

// Says what a file is that begins with `begin` (256 bytes are enough), and what to do, in words
// that follow the file's name: "is a pointer of Git LFS ...: run ...". Returns "" if the file is
// not one of these.
std::string describe_known_file(std::string_view begin);

}  // namespace troupe
