#include <algorithm>
#include <cstddef>
#include <utility>

#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/shared_prompts.h>

namespace troupe::tools {

Result<std::vector<SharedPrompt>> read_shared_prompts(const std::vector<std::string>& files,
                                                      const std::string& option) {
  std::vector<SharedPrompt> prompts;
  for (const std::string& file : files) {
    Result<std::string> text = read_file(file, std::size_t{8} << 20);
    if (!text) return Status(Code::kInvalidArgument, option + ": " + text.message());
    if (text->ends_with('\n')) text->pop_back();
    prompts.push_back({std::move(*text), option + " " + file});
  }
  return prompts;
}

std::vector<std::string> split_list(const std::string& list) {
  std::vector<std::string> entries;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) entries.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return entries;
}

}  // namespace troupe::tools
