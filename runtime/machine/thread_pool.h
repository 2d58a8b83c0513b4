#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include <troupe/runtime/status.h>

// A fixed team of threads. All of them run one function at a time (SPMD), with barriers between its
// phases. Between runs and at barriers a thread spins for a bounded time and then parks, so that
// daemons that share a host leave each other CPU time. One owner calls `run`; inside it, thread 0
// is the caller. Every thread's rounding mode is nearest-even, without flush to zero (set at start,
// checked in `run`).

namespace troupe {

struct ThreadPoolOptions {
  int threads = 0;  // 0: every CPU that this process may use (affinity and cgroup quota)
  // Pins each thread to a CPU that is claimed by a lock file. This is not done if a control group's
  // quota allows less than the CPUs of the mask.
  bool pin = true;
  int spin_microseconds = 50;
};

class ThreadPool {
 public:
  static Result<std::unique_ptr<ThreadPool>> create(const ThreadPoolOptions& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Calls body(thread) once on each of threads() threads, of which thread 0 is the caller, and
  // returns when all calls are done. Not reentrant. `body` must not throw.
  void run(const std::function<void(int thread)>& body);
  // Makes the calling thread the pool's thread 0 for good: it is pinned now, and not in every `run`
  // anew, so that it wakes up on the CPU where it computes.
  void adopt_caller();
  // Called inside `run`: waits until every thread has called it as often. Orders memory accesses
  // between phases.
  void barrier(int thread);

 private:
  ThreadPool();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The half-open part of [0, count) that belongs to `part` of `parts`. The sizes of the parts differ
// by one at most.
struct IndexRange {
  std::size_t begin, end;
};
inline IndexRange split(std::size_t count, int part, int parts) {
  return {count * static_cast<std::size_t>(part) / static_cast<std::size_t>(parts),
          count * static_cast<std::size_t>(part + 1) / static_cast<std::size_t>(parts)};
}

}  // namespace troupe
