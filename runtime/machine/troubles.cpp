#include <algorithm>
#include <cmath>
#include <cstdio>
#include <system_error>
#include <utility>

#include <sys/resource.h>

#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/runtime/machine/troubles.h>

namespace troupe {
namespace {

namespace fs = std::filesystem;

// With this much left, a model of some hundred megabytes, the journal and the log still fit.
constexpr std::uint64_t kDiskLow = 1u << 30;
constexpr std::uint64_t kMemoryLow = 256u << 20;
// A group that grants 1.9 CPUs to two threads does not slow them down noticeably.
constexpr double kCpuShareLow = 0.9;
constexpr double kDescriptorsHigh = 0.8;

std::string megabytes(std::uint64_t bytes) { return std::to_string(bytes / 1'000'000) + " MB"; }

std::optional<std::uint64_t> count_descriptors() {
  std::error_code error;
  std::uint64_t count = 0;
  for (fs::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    ++count;
  }
  if (error) return std::nullopt;
  return count;
}

}  // namespace

MachineReading read_machine(const fs::path& home, int threads) {
  MachineReading reading;
  reading.home = home;
  reading.threads = threads;
  std::error_code error;
  const fs::space_info space = fs::space(home, error);
  if (!error) reading.disk_free_bytes = space.available;
  const CgroupLimits limits = cgroup_limits();
  const MachineMemory memory = machine_memory();
  if (memory.total_bytes != 0) reading.memory_free_bytes = memory.available_bytes;
  if (limits.memory_left_bytes &&
      (!reading.memory_free_bytes || *limits.memory_left_bytes < *reading.memory_free_bytes)) {
    reading.memory_free_bytes = limits.memory_left_bytes;
    reading.memory_group = limits.memory_group;
  }
  reading.cpus_granted = limits.cpus;
  reading.descriptors = count_descriptors();
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
    reading.descriptors_max = files.rlim_cur;
  }
  return reading;
}

std::vector<Trouble> troubles_of(const MachineReading& reading) {
  std::vector<Trouble> out;
  const auto add = [&out](TroubleKind kind, std::string text) {
    out.push_back({kind, std::move(text)});
  };
  if (reading.disk_free_bytes && *reading.disk_free_bytes < kDiskLow) {
    add(TroubleKind::kDisk, "the disk of " + reading.home.string() + " is nearly full (" +
                                megabytes(*reading.disk_free_bytes) +
                                " are free): `troupe rm` removes models that are not needed");
  }
  if (reading.memory_free_bytes && *reading.memory_free_bytes < kMemoryLow) {
    const std::string left = megabytes(*reading.memory_free_bytes);
    add(TroubleKind::kMemory,
        reading.memory_group.empty()
            ? "this machine has only " + left +
                  " of memory left: end other programs, or give the node less with --memory"
            : "the control group " + reading.memory_group + " leaves only " + left +
                  " of memory: raise its limit, or give the node less with --memory");
  }
  if (reading.cpus_granted && *reading.cpus_granted < kCpuShareLow * reading.threads) {
    char granted[32];
    std::snprintf(granted, sizeof granted, "%.2f", *reading.cpus_granted);
    add(TroubleKind::kCpus,
        "control groups grant " + std::string(granted) + " CPUs to " +
            std::to_string(reading.threads) +
            " threads, which wait for each other: start it with --threads " +
            std::to_string(std::max(1, static_cast<int>(*reading.cpus_granted))));
  }
  if (reading.descriptors && reading.descriptors_max &&
      static_cast<double>(*reading.descriptors) >
          kDescriptorsHigh * static_cast<double>(*reading.descriptors_max)) {
    add(TroubleKind::kDescriptors,
        "of " + std::to_string(*reading.descriptors_max) + " files and sockets " +
            std::to_string(*reading.descriptors) +
            " are open: raise the limit (ulimit -n, or LimitNOFILE in the unit)");
  }
  return out;
}

}  // namespace troupe
