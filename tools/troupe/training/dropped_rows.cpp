#include <string>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/training/dropped_rows.h>

namespace troupe::tools {

void say_dropped(const std::vector<model::DroppedRow>& dropped) {
  constexpr std::size_t kNamed = 5;
  for (std::size_t i = 0; i < dropped.size() && i < kNamed; ++i)
    say("line " + std::to_string(dropped[i].line) + " was left out: " + dropped[i].why);
  if (dropped.size() > kNamed)
    say(std::to_string(dropped.size() - kNamed) + " more lines were left out");
}

}  // namespace troupe::tools
