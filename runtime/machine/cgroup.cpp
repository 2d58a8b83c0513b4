#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include <troupe/runtime/file.h>
#include <troupe/runtime/machine/cgroup.h>

namespace troupe {
namespace {

namespace fs = std::filesystem;

// v1 writes a number near 2^63 if there is no limit.
constexpr std::uint64_t kNoLimitBytes = std::uint64_t{1} << 60;

// Returns the CPU share that a quota file grants: v2 "QUOTA PERIOD" or "max PERIOD".
std::optional<double> share_of(std::string_view quota_and_period) {
  long long quota = 0, period = 0;
  const char* end = quota_and_period.data() + quota_and_period.size();
  const auto [next, error] = std::from_chars(quota_and_period.data(), end, quota);
  if (error != std::errc{} || next == end) return std::nullopt;
  std::from_chars(next + 1, end, period);
  if (quota <= 0 || period <= 0) return std::nullopt;
  return static_cast<double>(quota) / static_cast<double>(period);
}

// Returns the bytes that a limit file grants: a number, or "max" in v2.
std::optional<std::uint64_t> bytes_of(std::string_view text) {
  std::uint64_t bytes = 0;
  std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (bytes == 0 || bytes >= kNoLimitBytes) return std::nullopt;
  return bytes;
}

template <class T>
void tighten(std::optional<T>& limit, const std::optional<T>& other) {
  if (other) limit = limit ? std::min(*limit, *other) : *other;
}

// Reads what one group's own files grant.
std::optional<double> group_cpus(const fs::path& folder, bool v2) {
  if (v2) {
    const auto text = read_file(folder / "cpu.max", kSystemFileBytesMax);
    return text ? share_of(*text) : std::nullopt;
  }
  const auto quota = read_file(folder / "cpu.cfs_quota_us", kSystemFileBytesMax);
  const auto period = read_file(folder / "cpu.cfs_period_us", kSystemFileBytesMax);
  if (!quota || !period) return std::nullopt;
  return share_of(quota->substr(0, quota->find('\n')) + " " + *period);
}

std::optional<std::uint64_t> group_memory(const fs::path& folder, bool v2) {
  const auto text =
      read_file(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"), kSystemFileBytesMax);
  return text ? bytes_of(*text) : std::nullopt;
}

// Returns the number after `key` in a file of lines "KEY NUMBER"; 0 if there is none.
std::uint64_t value_of(std::string_view text, std::string_view key) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ')
      return bytes_of(line.substr(key.size() + 1)).value_or(0);
  }
  return 0;
}

// Returns the bytes of a group that the kernel could not free by dropping cached files.
std::uint64_t group_used(const fs::path& folder, bool v2) {
  const auto all =
      read_file(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"), kSystemFileBytesMax);
  const auto parts = read_file(folder / "memory.stat", kSystemFileBytesMax);
  const std::uint64_t used = all ? bytes_of(*all).value_or(0) : 0;
  const std::uint64_t cached =
      parts ? value_of(*parts, v2 ? "inactive_file" : "total_inactive_file") : 0;
  return used - std::min(used, cached);
}

void tighten_memory(const fs::path& folder, bool v2, CgroupLimits* limits) {
  const auto limit = group_memory(folder, v2);
  if (!limit) return;
  tighten(limits->memory_bytes, limit);
  const std::uint64_t left = *limit - std::min(*limit, group_used(folder, v2));
  if (limits->memory_left_bytes && *limits->memory_left_bytes <= left) return;
  limits->memory_left_bytes = left;
  limits->memory_group = folder.string();
}

// Returns the folder that holds the groups of a v1 controller: hierarchies are mounted under the
// names of all their controllers, "cpu,cpuacct", and some systems have only a link for each of
// them.
fs::path hierarchy(const fs::path& root, const std::string& controllers, const char* controller) {
  std::error_code error;
  const fs::path together = root / controllers;
  return fs::is_directory(together, error) ? together : root / controller;
}

bool names(const std::string& controllers, const std::string& controller) {
  return ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
}

// Calls `read` with the folder of `group` and of every group above it, up to `top`. A container may
// see the path of the host, and only its own group at the top: `read` passes over missing folders.
template <class Read>
void walk_up(const fs::path& top, fs::path group, Read read) {
  for (;;) {
    read(top / group.relative_path());
    if (!group.has_relative_path()) return;
    group = group.parent_path();
  }
}

}  // namespace

CgroupLimits cgroup_limits(const fs::path& groups_file, const fs::path& root) {
  CgroupLimits limits;
  const auto groups = read_file(groups_file, kSystemFileBytesMax);
  if (!groups) return limits;
  for (std::size_t begin = 0; begin < groups->size();) {
    const std::size_t end = std::min(groups->find('\n', begin), groups->size());
    const std::string line = groups->substr(begin, end - begin);  // "id:controllers:/path"
    begin = end + 1;
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = line.substr(second + 1);
    const bool v2 = controllers.empty();
    if (v2 || names(controllers, "cpu")) {
      walk_up(v2 ? root : hierarchy(root, controllers, "cpu"), group,
              [&](const fs::path& folder) { tighten(limits.cpus, group_cpus(folder, v2)); });
    }
    if (v2 || names(controllers, "memory")) {
      walk_up(v2 ? root : hierarchy(root, controllers, "memory"), group,
              [&](const fs::path& folder) { tighten_memory(folder, v2, &limits); });
    }
  }
  return limits;
}

}  // namespace troupe
