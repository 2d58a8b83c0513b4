#pragma once

#include <cstdint>
#include <filesystem>

// How much memory this machine has, how much of it this process may offer to a cluster, and how
// much it has used. Any thread.

namespace troupe {

struct MachineMemory {
  std::uint64_t total_bytes = 0, available_bytes = 0;
};
// The values in /proc/meminfo; zeros if it cannot be read.
MachineMemory machine_memory();

// The memory for layers, keys and values that a process offers if it is not told another number:
// all of the machine's, or what its control groups leave (cgroup.h) if that is less.
std::uint64_t offered_memory(const std::filesystem::path& groups = "/proc/self/cgroup",
                             const std::filesystem::path& root = "/sys/fs/cgroup");

// The most memory that this process ever had resident (VmHWM).
std::uint64_t resident_bytes_max();

}  // namespace troupe
