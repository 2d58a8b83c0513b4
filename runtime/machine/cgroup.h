#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

// Reads what this process's control groups leave it, in cgroup v1 and v2. Called where threads and
// memory are counted. Any thread.

namespace troupe {

struct CgroupLimits {  // absent: no limit
  std::optional<std::uint64_t> memory_bytes;
  std::optional<double> cpus;  // CPU time per time, e.g. 1.5
};

// The tightest limits on the path from this process's control group up to the root: memory.max and
// cpu.max in v2, memory.limit_in_bytes and cpu.cfs_quota_us in v1. A file that cannot be read or
// understood sets no limit. Tests pass other places.
CgroupLimits cgroup_limits(const std::filesystem::path& groups = "/proc/self/cgroup",
                           const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace troupe
