#pragma once

#include <string>
#include <string_view>

// Recognizes files that people take for a model's file, by how they begin: what a failed download
// left, and weights in formats of other programs. For error messages. Pure.

namespace troupe {

// Says what a file is that begins with `begin` (256 bytes are enough), and what to do, as what
// follows the file's name in a sentence: "is a pointer of Git LFS ...: run ...". Returns "" if the
// file is none of those that are known.
std::string describe_known_file(std::string_view begin);

}  // namespace troupe
