#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

// Reads what this process's control groups allow it, in cgroup v1 and v2. Called where threads and
// memory are counted. Any thread.

namespace troupe {

struct CgroupLimits {  // an absent value means no limit
  std::optional<std::uint64_t> memory_bytes;
  std::optional<double> cpus;  // CPU time per unit of time, such as 1.5
};

// The tightest limits on the path from this process's control group up to the root: memory.max and
// cpu.max in v2, memory.limit_in_bytes and cpu.cfs_quota_us in v1. A file that cannot be read or
// understood sets no limit. Tests pass other paths.
CgroupLimits cgroup_limits(const std::filesystem::path& groups = "/proc/self/cgroup",
                           const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace troupe
