#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/thread_pool.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace troupe {
namespace {

constexpr int kThreadsMax = 1024;

// Sets the mode for which the lane rule defines its bits, rounding to nearest even with subnormals,
// and returns the previous mode.
#if defined(__SSE__)
using FloatMode = unsigned;
FloatMode set_float_mode() {
  constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x40, kRounding = 0x6000;
  const unsigned before = _mm_getcsr();
  const unsigned wanted = before & ~(kFlushToZero | kDenormalsAreZero | kRounding);
  if (wanted != before) _mm_setcsr(wanted);
  return before;
}
void restore_float_mode(FloatMode before) {
  if (before != _mm_getcsr()) _mm_setcsr(before);
}
#else
using FloatMode = int;
FloatMode set_float_mode() {
  const int before = std::fegetround();
  std::fesetround(FE_TONEAREST);
  return before;
}
void restore_float_mode(FloatMode before) { std::fesetround(before); }
#endif

inline void pause_briefly() {
#if defined(__SSE__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A 32-bit counter on which threads wait: a short spin, then a futex.
struct alignas(64) Signal {
  std::atomic<std::uint32_t> value{0};
  std::atomic<std::uint32_t> sleepers{0};

  void advance() {
    value.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) != 0)
      syscall(SYS_futex, &value, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
  // Waits until the value differs from `old`. Returns true if that happened while spinning.
  bool wait(std::uint32_t old, std::chrono::nanoseconds spin) {
    if (value.load(std::memory_order_acquire) != old) return true;
    if (spin.count() > 0) {
      const auto end = std::chrono::steady_clock::now() + spin;
      do {
        for (int i = 0; i < 16; ++i) {
          if (value.load(std::memory_order_acquire) != old) return true;
          pause_briefly();
        }
      } while (std::chrono::steady_clock::now() < end);
    }
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    while (value.load(std::memory_order_seq_cst) == old)
      syscall(SYS_futex, &value, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
};
static_assert(sizeof(std::atomic<std::uint32_t>) == 4);

struct alignas(64) ThreadState {
  std::chrono::nanoseconds barrier_spin{0};
};

void pin_to(int cpu) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(static_cast<std::size_t>(cpu), &mask);
  sched_setaffinity(0, sizeof mask, &mask);  // a refusal only costs speed
}

}  // namespace

struct ThreadPool::Impl {
  int threads = 1;
  std::chrono::nanoseconds spin_max{0};
  CpuClaim claim;
  std::vector<std::thread> workers;
  std::vector<ThreadState> states;
  std::thread::id adopted;  // the caller that is pinned already
  const std::function<void(int)>* body = nullptr;
  bool stop = false;
  Signal started;  // advances once for each run
  Signal phase;    // advances once for each barrier
  alignas(64) std::atomic<int> arrived{0};

  void barrier(int thread) {
    if (threads == 1) return;
    const std::uint32_t before = phase.value.load(std::memory_order_relaxed);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived.store(0, std::memory_order_relaxed);
      phase.advance();
      return;
    }
    // A thread that had to park may share its core with other programs. It spins less the next
    // time, so that a crowded machine spends its time on work, and spins longer again when spinning
    // succeeds.
    std::chrono::nanoseconds& spin = states[static_cast<std::size_t>(thread)].barrier_spin;
    const bool spun = phase.wait(before, spin);
    spin = spun ? std::min(spin * 2, spin_max) : std::max(spin / 2, spin_max / 16);
  }

  void work(int thread) {
    set_float_mode();
    if (!claim.cpus.empty()) pin_to(claim.cpus[static_cast<std::size_t>(thread)]);
    for (std::uint32_t seen = 0;; ++seen) {
      started.wait(seen, spin_max);
      if (stop) return;
      (*body)(thread);
      barrier(thread);
    }
  }

  void finish() {
    stop = true;
    started.advance();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }
};

ThreadPool::ThreadPool() : impl_(std::make_unique<Impl>()) {}

ThreadPool::~ThreadPool() { impl_->finish(); }

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(const ThreadPoolOptions& options) {
  if (options.threads < 0 || options.threads > kThreadsMax) {
    return Status(Code::kInvalidArgument, "a pool cannot have " + std::to_string(options.threads) +
                                              " threads; ask for 1 to " +
                                              std::to_string(kThreadsMax) + ", or 0 for all CPUs");
  }
  std::unique_ptr<ThreadPool> pool(new ThreadPool());
  Impl& impl = *pool->impl_;
  const int cpus = usable_cpus();
  impl.threads = options.threads == 0 ? cpus : options.threads;
  // If there are more threads than CPUs, the awaited thread may be waiting for this CPU.
  impl.spin_max = std::chrono::microseconds(
      impl.threads > cpus ? 0 : std::clamp(options.spin_microseconds, 0, 1000000));
  impl.states.resize(static_cast<std::size_t>(impl.threads));
  for (ThreadState& state : impl.states) state.barrier_spin = impl.spin_max;
  // Under a quota, the CPUs are shared with other containers, which do not see our claims: all
  // would pin threads to the same first CPUs.
  const bool shared = cpus < static_cast<int>(allowed_cpus().size());
  if (options.pin && !shared) {
    if (const auto folder = cpu_claim_folder()) impl.claim = claim_cpus(impl.threads, *folder);
  }
  try {
    for (int thread = 1; thread < impl.threads; ++thread)
      impl.workers.emplace_back([&impl, thread] { impl.work(thread); });
  } catch (const std::system_error& error) {
    return Status(Code::kResourceExhausted, "thread " + std::to_string(impl.workers.size() + 1) +
                                                " of " + std::to_string(impl.threads) +
                                                " could not be started (" + error.what() +
                                                "); ask for fewer threads");
  }
  return pool;
}

int ThreadPool::threads() const { return impl_->threads; }

void ThreadPool::run(const std::function<void(int thread)>& body) {
  Impl& impl = *impl_;
  // The caller's thread is not ours: its float mode and affinity are restored afterwards. Without a
  // CPU of its own, it would share one with a pinned worker until the scheduler noticed.
  const FloatMode mode = set_float_mode();
  cpu_set_t affinity;
  const bool pinned = !impl.claim.cpus.empty() && impl.adopted != std::this_thread::get_id() &&
                      sched_getaffinity(0, sizeof affinity, &affinity) == 0;
  if (pinned) pin_to(impl.claim.cpus[0]);
  impl.body = &body;
  if (impl.threads > 1) impl.started.advance();
  body(0);
  impl.barrier(0);
  if (pinned) sched_setaffinity(0, sizeof affinity, &affinity);
  restore_float_mode(mode);
}

void ThreadPool::adopt_caller() {
  impl_->adopted = std::this_thread::get_id();
  if (!impl_->claim.cpus.empty()) pin_to(impl_->claim.cpus[0]);
}

void ThreadPool::barrier(int thread) { impl_->barrier(thread); }

}  // namespace troupe
