#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What this machine is: read from /proc, /sys and the limits of this process. For `doctor`.

namespace troupe::tools {

std::string cpu_model();
struct Memory {
  std::uint64_t total_bytes = 0, available_bytes = 0;
};
Memory memory();

struct CgroupLimits {  // absent: no limit
  std::optional<std::uint64_t> memory_bytes;
  std::optional<double> cpus;
};
CgroupLimits cgroup_limits();

// The soft limit of a resource (RLIMIT_NOFILE ...); absent: unlimited.
std::optional<std::uint64_t> soft_limit(int resource);

// Bytes per second that `threads` threads read from memory together; about 0.3 s and 128 MiB.
double measure_memory_bandwidth(int threads);

// True when a TCP port of 127.0.0.1 can be bound.
bool port_is_free(std::uint16_t port);
// True when `program` is on PATH.
bool on_path(const std::string& program);
// VmHWM: the most memory this process ever had resident.
std::uint64_t peak_resident_bytes();

}  // namespace troupe::tools
