#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe {
namespace {

constexpr std::size_t kSmallFileBytes = 1 << 16;

// The number of a line "KEY:   NUMBER kB", in bytes; 0 if there is none.
std::uint64_t bytes_of(std::string_view text, std::string_view key) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    line.remove_prefix(std::min(line.find_first_not_of(" \t", key.size() + 1), line.size()));
    std::uint64_t kilobytes = 0;
    std::from_chars(line.data(), line.data() + line.size(), kilobytes);
    return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

MachineMemory machine_memory() {
  const auto text = read_file("/proc/meminfo", kSmallFileBytes);
  if (!text) return {};
  return {bytes_of(*text, "MemTotal"), bytes_of(*text, "MemAvailable")};
}

std::uint64_t offered_memory(const std::filesystem::path& groups,
                             const std::filesystem::path& root) {
  std::uint64_t total = machine_memory().total_bytes;
  if (total == 0) {  // without /proc
    total = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
            static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  return std::min(total, cgroup_limits(groups, root).memory_bytes.value_or(total));
}

std::uint64_t resident_bytes_max() {
  const auto text = read_file("/proc/self/status", kSmallFileBytes);
  return text ? bytes_of(*text, "VmHWM") : 0;
}

}  // namespace troupe
