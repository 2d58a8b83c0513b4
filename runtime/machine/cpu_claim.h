#pragma once

#include <filesystem>
#include <vector>

#include <troupe/runtime/file.h>

// Which CPUs a process may use, and who may pin to them. Daemons of one user on one host share a
// folder of lock files, one a CPU; a thread is pinned only to a CPU whose lock its pool holds, so
// that pools do not pile up on the first cores. Used by ThreadPool. Any thread.

namespace troupe {

struct CpuClaim {
  std::vector<int> cpus;        // system numbers; empty: do not pin
  std::vector<FileLock> locks;  // held as long as the claim lives
};

// The folder of the lock files: /run/user/UID/troupe, or else /tmp/troupe-UID, made with mode 0700.
// kPermissionDenied when the folder under /tmp is not ours alone.
Result<std::filesystem::path> cpu_claim_folder();

// Claims `count` CPUs of this thread's affinity mask, one a core before second hyper-threads; all
// of them or none.
CpuClaim claim_cpus(int count, const std::filesystem::path& folder);

// CPUs of this thread's affinity mask, first hyper-threads of each core first.
std::vector<int> allowed_cpus();

// The number of CPUs that this process may use: its affinity mask, capped by the control group's
// quota (cgroup.h), at least 1.
int usable_cpus();

}  // namespace troupe
