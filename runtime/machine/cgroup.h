#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

// Reads what this process's control groups allow it, in cgroup v1 and v2. Used to count threads and
// memory. Any thread.

namespace troupe {

struct CgroupLimits {  // an absent value means no limit
  std::optional<std::uint64_t> memory_bytes;
  // The bytes left under the tightest limit, and the group that has this limit. Cached files that
  // the kernel would drop do not count as used.
  std::optional<std::uint64_t> memory_left_bytes;
  std::string memory_group;
  std::optional<double> cpus;  // CPU time per unit of time, such as 1.5
};

// Returns the tightest limits on the path from this process's control group up to the root:
// memory.max and cpu.max in v2, memory.limit_in_bytes and cpu.cfs_quota_us in v1. A file that
// cannot be read or understood sets no limit. What is in use comes from memory.current (v2) or
// memory.usage_in_bytes (v1), minus the inactive files of memory.stat. Tests pass other paths.
CgroupLimits cgroup_limits(const std::filesystem::path& groups = "/proc/self/cgroup",
                           const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace troupe
