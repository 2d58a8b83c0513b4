#include <algorithm>
#include <charconv>
#include <string>

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/machine/cpu_claim.h>

namespace troupe {
namespace {

// Returns the lowest CPU number in "0,32" or "0-1": the first hyper-thread of this CPU's core.
int first_sibling(int cpu) {
  const auto text = read_file(
      "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
      kSystemFileBytesMax);
  int first = cpu;
  if (text) std::from_chars(text->data(), text->data() + text->size(), first);
  return first;
}

}  // namespace

std::vector<int> allowed_cpus() {
  // The mask has room for large machines, because the kernel refuses one that is too short.
  constexpr int kCpusMax = 8192;
  cpu_set_t* mask = CPU_ALLOC(kCpusMax);
  const std::size_t bytes = CPU_ALLOC_SIZE(kCpusMax);
  std::vector<int> cpus;
  CPU_ZERO_S(bytes, mask);
  if (sched_getaffinity(0, bytes, mask) == 0)
    for (int cpu = 0; cpu < kCpusMax; ++cpu)
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, mask)) cpus.push_back(cpu);
  CPU_FREE(mask);
  std::stable_partition(cpus.begin(), cpus.end(),
                        [](int cpu) { return first_sibling(cpu) == cpu; });
  return cpus;
}

int usable_cpus() {
  int cpus = static_cast<int>(allowed_cpus().size());
  // Round down, because a team that is larger than the quota would be throttled in the middle of a
  // barrier.
  if (const auto granted = cgroup_limits().cpus)
    cpus = std::min(cpus, static_cast<int>(std::min(*granted, 8192.0)));
  return std::max(cpus, 1);
}

Result<std::filesystem::path> cpu_claim_folder() {
  const std::string user = std::to_string(getuid());
  const std::filesystem::path run_user = "/run/user/" + user;
  std::filesystem::path folder = access(run_user.c_str(), W_OK) == 0
                                     ? run_user / "troupe"
                                     : std::filesystem::path("/tmp/troupe-" + user);
  mkdir(folder.c_str(), 0700);
  struct stat info {};
  if (lstat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != getuid() ||
      (info.st_mode & 077) != 0) {
    return Status(Code::kPermissionDenied, "the folder " + folder.string() +
                                               " is not this user's alone (mode 0700); remove it");
  }
  return folder;
}

CpuClaim claim_cpus(int count, const std::filesystem::path& folder) {
  CpuClaim claim;
  for (const int cpu : allowed_cpus()) {
    if (static_cast<int>(claim.cpus.size()) == count) break;
    auto lock = FileLock::try_acquire(folder / ("cpu-" + std::to_string(cpu) + ".lock"));
    if (!lock) continue;
    claim.cpus.push_back(cpu);
    claim.locks.push_back(std::move(*lock));
  }
  if (static_cast<int>(claim.cpus.size()) < count) return {};
  return claim;
}

}  // namespace troupe
