#include <cerrno>
#include <cstring>
#include <filesystem>
#include <latch>
#include <optional>
#include <string>
#include <vector>

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <troupe/runtime/machine/headroom.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe {
namespace {

// The address space that the allocator and the libraries need beside the stacks of threads.
constexpr std::uint64_t kSpareBytes = 128 << 20;

void* wait_for_end(void* end) {
  static_cast<std::latch*>(end)->wait();
  return nullptr;
}

// Says whether `bytes` more of address space can be had at this moment.
bool can_map(std::uint64_t bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return false;
  ::munmap(at, bytes);
  return true;
}

Status too_few_threads(std::size_t had, int wanted, int error) {
  const bool narrow = address_space_left().has_value();
  return Status(Code::kResourceExhausted,
                "this process may have " + std::to_string(had) + " of the " +
                    std::to_string(wanted) + " more threads that it needs (" +
                    std::strerror(error) + "); raise the limit of processes ('ulimit -u', or " +
                    "TasksMax and pids.max of a control group)" +
                    (narrow ? " or that of address space ('ulimit -v')" : ""));
}

Status check_threads(int wanted) {
  std::latch end(1);
  std::vector<pthread_t> started;
  int error = 0;
  while (started.size() < static_cast<std::size_t>(wanted) && error == 0) {
    pthread_t thread;
    error = ::pthread_create(&thread, nullptr, wait_for_end, &end);
    if (error == 0) started.push_back(thread);
  }
  // The stacks still exist at this point.
  const bool spare = error != 0 || !address_space_left() || can_map(kSpareBytes);
  end.count_down();
  for (const pthread_t thread : started) ::pthread_join(thread, nullptr);
  if (error != 0) return too_few_threads(started.size(), wanted, error);
  if (!spare)
    return Status(Code::kResourceExhausted,
                  "this process has too little address space left; raise its limit ('ulimit -v')");
  return Status::ok();
}

Status check_descriptors(int wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return Status::ok();
  std::uint64_t open = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), last; !error && it != last;
       it.increment(error))
    ++open;
  if (open + static_cast<std::uint64_t>(wanted) <= limit.rlim_cur) return Status::ok();
  return Status(Code::kResourceExhausted,
                "this process may open " + std::to_string(limit.rlim_cur) + " files and has " +
                    std::to_string(open) + " open; it needs " + std::to_string(wanted) +
                    " more: raise the limit ('ulimit -n')");
}

}  // namespace

Status check_headroom(const Headroom& needed) {
  // By default each thread reserves address space for a heap of its own.
  if (address_space_left()) ::mallopt(M_ARENA_MAX, 1);
  TROUPE_RETURN_IF_ERROR(check_descriptors(needed.descriptors));
  return check_threads(needed.threads);
}

}  // namespace troupe
