#pragma once

#include <filesystem>
#include <vector>

#include <troupe/runtime/file.h>

// Finds out which CPUs a process may use, and which process may pin threads to them. Daemons of one
// user on one host share a folder of lock files, one for each CPU. A thread is pinned only to a CPU
// whose lock its pool holds, so that the pools do not all use the first cores. Used by ThreadPool.
// Any thread.

namespace troupe {

struct CpuClaim {
  std::vector<int> cpus;        // the system's numbers; empty means: do not pin
  std::vector<FileLock> locks;  // held as long as the claim lives
};

// Returns the folder of the lock files: /run/user/UID/troupe, or else /tmp/troupe-UID, made with
// mode 0700.
//   Errors: kPermissionDenied (other users may enter the folder under /tmp).
Result<std::filesystem::path> cpu_claim_folder();

// Claims `count` CPUs of this thread's affinity mask, one on each core before second hyper-threads.
// Claims all of them or none.
CpuClaim claim_cpus(int count, const std::filesystem::path& folder);

// Returns the CPUs of this thread's affinity mask, with the first hyper-thread of each core first.
std::vector<int> allowed_cpus();

// Returns the number of CPUs that this process may use: its affinity mask, capped by the control
// group's quota (cgroup.h), at least 1.
int usable_cpus();

}  // namespace troupe
