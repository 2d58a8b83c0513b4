#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/thread_pool.h>

namespace troupe {
namespace {

constexpr std::size_t kSmallFileBytes = 1 << 16;

// The lowest CPU number in "0,32" or "0-1": the first hyper-thread of this CPU's core.
int first_sibling(int cpu) {
  const auto text = read_file(
      "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
      kSmallFileBytes);
  int first = cpu;
  if (text) std::from_chars(text->data(), text->data() + text->size(), first);
  return first;
}

// The CPU share that a quota file grants: v2 "QUOTA PERIOD" or "max PERIOD". 0: no limit.
double share_of(const std::string& quota_and_period) {
  long long quota = 0, period = 0;
  const char* end = quota_and_period.data() + quota_and_period.size();
  const auto [next, error] = std::from_chars(quota_and_period.data(), end, quota);
  if (error != std::errc{} || next == end) return 0;
  std::from_chars(next + 1, end, period);
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : 0;
}

double smaller_share(double a, double b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// What one group's own files grant.
double group_share(const std::filesystem::path& folder, bool v2) {
  if (v2) {
    const auto text = read_file(folder / "cpu.max", kSmallFileBytes);
    return text ? share_of(*text) : 0;
  }
  const auto quota = read_file(folder / "cpu.cfs_quota_us", kSmallFileBytes);
  const auto period = read_file(folder / "cpu.cfs_period_us", kSmallFileBytes);
  if (!quota || !period) return 0;
  return share_of(quota->substr(0, quota->find('\n')) + " " + *period);
}

// The folder below which a line's groups lie: v1 hierarchies are mounted under the controllers'
// names, "cpu,cpuacct", and some systems have only a link for each of them.
std::filesystem::path hierarchy(const std::filesystem::path& root, const std::string& controllers) {
  if (controllers.empty()) return root;
  std::error_code error;
  const std::filesystem::path together = root / controllers;
  return std::filesystem::is_directory(together, error) ? together : root / "cpu";
}

}  // namespace

double cgroup_cpus(const std::filesystem::path& groups_file, const std::filesystem::path& root) {
  const auto groups = read_file(groups_file, kSmallFileBytes);
  if (!groups) return 0;
  double share = 0;
  for (std::size_t begin = 0; begin < groups->size();) {
    const std::size_t end = std::min(groups->find('\n', begin), groups->size());
    const std::string line = groups->substr(begin, end - begin);  // "id:controllers:/path"
    begin = end + 1;
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    const std::filesystem::path top = hierarchy(root, controllers);
    // A container may see the path of the host, and only its own group at the top: missing folders
    // are passed over.
    std::filesystem::path group = line.substr(second + 1);
    while (true) {
      share = smaller_share(share, group_share(top / group.relative_path(), v2));
      if (!group.has_relative_path()) break;
      group = group.parent_path();
    }
  }
  return share;
}

std::vector<int> allowed_cpus() {
  // The mask is asked for with room for large machines: the kernel refuses one that is too short.
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
  // A team that is larger than the quota is throttled in the middle of a barrier: round down.
  if (const double share = cgroup_cpus(); share > 0)
    cpus = std::min(cpus, static_cast<int>(std::min(share, 8192.0)));
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
