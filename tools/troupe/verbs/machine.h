#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Describes this machine from /proc, /sys and the limits of this process. For `doctor`.

namespace troupe::tools {

std::string cpu_model();

// The soft limit of a resource (RLIMIT_NOFILE ...); absent: unlimited.
std::optional<std::uint64_t> soft_limit(int resource);

// Bytes per second that `threads` threads read from memory together; about 0.3 s and 128 MiB.
double measure_memory_bandwidth(int threads);

// GPUs as NVIDIA's driver lists them: by nvidia-smi (given 5 s), else below /proc/driver/nvidia.
struct Gpu {
  std::string name;
  std::optional<std::uint64_t> memory_bytes;
};
std::vector<Gpu> gpus();
// The version of NVIDIA's kernel driver, "" without one.
std::string gpu_driver();

struct HugePages {
  std::string transparent;  // always, madvise, never; "" where the kernel has none
  std::uint64_t page_bytes = 0, reserved = 0, reserved_free = 0;
};
HugePages huge_pages();

// True when a TCP port of 127.0.0.1 can be bound.
bool port_is_free(std::uint16_t port);
// True when `program` is on PATH.
bool on_path(const std::string& program);
// True when a shell command ends well; what it prints is thrown away.
bool succeeds(const std::string& command);

}  // namespace troupe::tools
