#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Describes this machine from /proc, /sys and the limits of this process. For `doctor`.

namespace troupe::tools {

std::string cpu_model();

// Returns the soft limit of a resource (such as RLIMIT_NOFILE); absent if unlimited.
std::optional<std::uint64_t> soft_limit(int resource);

// Measures the bytes per second that `threads` threads read from memory together. Takes about 0.3 s
// and 128 MiB.
double measure_memory_bandwidth(int threads);

// A GPU as NVIDIA's driver lists it.
struct Gpu {
  std::string name;
  std::optional<std::uint64_t> memory_bytes;
};
// Returns the GPUs that nvidia-smi lists (it gets 5 s), else those below /proc/driver/nvidia.
std::vector<Gpu> gpus();
// Returns the version of NVIDIA's kernel driver, or "" if there is none.
std::string gpu_driver();

struct HugePages {
  std::string transparent;  // always, madvise or never; "" if the kernel has none
  std::uint64_t page_bytes = 0, reserved = 0, reserved_free = 0;
};
HugePages huge_pages();

// True if a TCP port of 127.0.0.1 can be bound.
bool port_is_free(std::uint16_t port);
// True if `program` is on PATH.
bool on_path(const std::string& program);
// True if a shell command succeeds; its output is discarded.
bool succeeds(const std::string& command);

}  // namespace troupe::tools
