#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

// How much memory this machine has, how much of it this process may offer to a cluster, and how
// much it has used. Any thread.

namespace troupe {

struct MachineMemory {
  std::uint64_t total_bytes = 0, available_bytes = 0;
};
// Returns the values in /proc/meminfo; zeros if it cannot be read.
MachineMemory machine_memory();

// The memory for layers, keys and values that this process offers unless it is told another number.
struct MemoryOffer {
  std::uint64_t bytes = 0;
  // Processes that name the same pool offer the same memory, each all of it: the machine's, or that
  // of one control group. At most 64 characters.
  std::string pool;
};
// Returns what the machine, its control groups (cgroup.h) and the limits of this process
// (RLIMIT_AS) leave at this moment, minus a reserve for the process itself and for its neighbours.
MemoryOffer memory_offer(const std::filesystem::path& groups = "/proc/self/cgroup",
                         const std::filesystem::path& root = "/sys/fs/cgroup");
// Its bytes alone.
std::uint64_t offered_memory();

// Returns the bytes of address space that RLIMIT_AS (`ulimit -v`) leaves this process; absent if it
// sets no limit.
std::optional<std::uint64_t> address_space_left();

// Gives freed memory of the heap back to the system. The C library would keep it, so that a daemon
// that was busy once would look busy forever. Takes about a millisecond, during which other threads
// wait to allocate.
void give_back_free_memory();

// Returns the most memory that this process ever had resident (VmHWM).
std::uint64_t resident_bytes_max();

}  // namespace troupe
