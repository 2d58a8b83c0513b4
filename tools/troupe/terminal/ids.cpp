#include <charconv>

#include <troupe/tools/troupe/terminal/ids.h>

namespace troupe::tools {

Result<std::vector<model::TokenId>> parse_ids(const std::string& text, const std::string& flag) {
  std::vector<model::TokenId> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    model::TokenId id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0 || (next != end && (*next != ',' || next + 1 == end))) {
      break;
    }
    ids.push_back(id);
    at = next == end ? end : next + 1;
  }
  if (ids.empty() || at != end) {
    return Status(Code::kInvalidArgument,
                  flag +
                      " takes token ids with commas between them, e.g. 504,3575,282; the value "
                      "cannot be read from '" +
                      std::string(at, static_cast<std::size_t>(end - at)).substr(0, 40) + "' on");
  }
  return ids;
}

}  // namespace troupe::tools
