#include <ctime>

#include <troupe/tools/troupe/terminal/time_text.h>

namespace troupe::tools {

std::string time_text(std::int64_t unix_ms) {
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[64];
  const std::size_t count = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return std::string(text, count);
}

}  // namespace troupe::tools
