#pragma once

#include <string>
#include <vector>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/status.h>

// The system prompts that a server shares among all keys, as the command's options name them.

namespace troupe::tools {

// Reads the files that `option` names. The line feed at the end of a file is not part of its
//   prompt.
//   Errors: kInvalidArgument names the option and the file.
Result<std::vector<SharedPrompt>> read_shared_prompts(const std::vector<std::string>& files,
                                                      const std::string& option);

// Splits a list at its commas; empty entries are left out.
std::vector<std::string> split_list(const std::string& list);

}  // namespace troupe::tools
