#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include <troupe/runtime/status.h>

// A fixed team of threads that runs one function at a time, all of them together (SPMD), with a
// barrier between phases. Between runs and at barriers a thread spins for a bounded time and then
// parks, so that daemons that share a host do not eat each other's cores. One owner calls `run`;
// inside it, thread 0 is the caller. Every thread's rounding mode is nearest-even, without flush
// to zero (set at start, checked in `run`).

namespace troupe {

struct ThreadPoolOptions {
  int threads = 0;  // 0: every CPU that this process may use (affinity and cgroup quota)
  // Pin each thread to a CPU claimed by a per-CPU lock file; not done where a cgroup's quota leaves
  // less than the CPUs of the mask.
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
  // Calls body(thread) once on each of threads() threads, thread 0 being the caller; returns when
  // all are done. Not reentrant. `body` must not throw.
  void run(const std::function<void(int thread)>& body);
  // The calling thread is the pool's thread 0 for good: pinned now, not in every `run` anew, so
  // that it wakes where it computes.
  void adopt_caller();
  // Inside `run`: waits until every thread has called it as often. Orders memory between phases.
  void barrier(int thread);

 private:
  ThreadPool();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The half-open part of [0, count) that belongs to `part` of `parts`; parts differ by one at most.
struct IndexRange {
  std::size_t begin, end;
};
inline IndexRange split(std::size_t count, int part, int parts) {
  return {count * static_cast<std::size_t>(part) / static_cast<std::size_t>(parts),
          count * static_cast<std::size_t>(part + 1) / static_cast<std::size_t>(parts)};
}

}  // namespace troupe
