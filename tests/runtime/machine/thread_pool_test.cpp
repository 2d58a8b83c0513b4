#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/thread_pool.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace troupe {

TEST_CASE("run calls every thread once, the caller being thread 0") {
  for (const int threads : {1, 2, 3, 7}) {
    auto pool = ThreadPool::create({.threads = threads, .pin = false});
    REQUIRE(pool);
    REQUIRE((*pool)->threads() == threads);
    const auto caller = std::this_thread::get_id();
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::vector<int> calls(static_cast<std::size_t>(threads));
      bool caller_is_zero = false;
      (*pool)->run([&](int thread) {
        ++calls[static_cast<std::size_t>(thread)];
        if (thread == 0) caller_is_zero = std::this_thread::get_id() == caller;
      });
      REQUIRE(calls == std::vector<int>(static_cast<std::size_t>(threads), 1));
      REQUIRE(caller_is_zero);
    }
  }
}

TEST_CASE("a barrier shows every thread what the others wrote before it") {
  for (const int threads : {2, 5}) {
    auto pool = ThreadPool::create({.threads = threads, .pin = false, .spin_microseconds = 5});
    REQUIRE(pool);
    std::vector<int> values(static_cast<std::size_t>(threads));
    std::atomic<int> wrong{0};
    (*pool)->run([&](int thread) {
      for (int phase = 1; phase <= 500; ++phase) {
        values[static_cast<std::size_t>(thread)] = phase;
        (*pool)->barrier(thread);
        if (std::accumulate(values.begin(), values.end(), 0) != phase * threads) ++wrong;
        (*pool)->barrier(thread);
      }
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("threads that have parked wake up for a run and at a barrier") {
  auto pool = ThreadPool::create({.threads = 2, .pin = false, .spin_microseconds = 0});
  REQUIRE(pool);
  int sum = 0;
  for (int repeat = 0; repeat < 200; ++repeat) {
    (*pool)->run([&](int thread) {
      if (thread == 1) ++sum;
      (*pool)->barrier(thread);
      if (thread == 0) ++sum;
    });
  }
  CHECK(sum == 400);
}

TEST_CASE("a pool refuses a count that cannot be") {
  const auto pool = ThreadPool::create({.threads = -1});
  REQUIRE(!pool);
  CHECK(pool.code() == Code::kInvalidArgument);
  CHECK(pool.message().find("-1") != std::string::npos);
  CHECK(ThreadPool::create({.threads = 1000000}).code() == Code::kInvalidArgument);
}

#if defined(__SSE__)
TEST_CASE("every thread rounds to nearest and keeps subnormals; the caller's mode comes back") {
  auto pool = ThreadPool::create({.threads = 2, .pin = false});
  REQUIRE(pool);
  const unsigned before = _mm_getcsr();
  const unsigned foreign = before | 0x8040 | 0x2000;  // flush to zero, round down
  _mm_setcsr(foreign);
  unsigned modes[2] = {};
  (*pool)->run([&](int thread) { modes[thread] = _mm_getcsr(); });
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  CHECK((modes[0] & 0xe040) == 0);
  CHECK((modes[1] & 0xe040) == 0);
  CHECK((after & 0xe040) == (foreign & 0xe040));
}
#endif

TEST_CASE("run leaves the caller's affinity as it was") {
  auto pool = ThreadPool::create({.threads = 1, .pin = true});
  REQUIRE(pool);
  const std::vector<int> before = allowed_cpus();
  int runs = 0;
  (*pool)->run([&](int) { ++runs; });
  CHECK(runs == 1);
  CHECK(allowed_cpus() == before);
}

namespace {

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

double process_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Runs phases of some 20 us of work with a barrier after each.
void run_phases(ThreadPool& pool, int phases) {
  pool.run([&](int thread) {
    volatile std::uint32_t state = 1;
    for (int phase = 0; phase < phases; ++phase) {
      for (int i = 0; i < 10000; ++i) state = state * 1664525u + 1013904223u;
      pool.barrier(thread);
    }
  });
}

}  // namespace

TEST_CASE("a pool that waits uses no CPU") {
  auto pool = ThreadPool::create({.threads = 2, .pin = false});
  REQUIRE(pool);
  (*pool)->run([](int) {});
  // This lasts until the thread has parked.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(process_cpu_seconds() - before < 0.03);
}

TEST_CASE("a thread that waits long at a barrier parks") {
  auto pool = ThreadPool::create({.threads = 2, .pin = false});
  REQUIRE(pool);
  const double before = process_cpu_seconds();
  (*pool)->run([&](int thread) {
    if (thread == 0) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    (*pool)->barrier(thread);
  });
  CHECK(process_cpu_seconds() - before < 0.03);
}

// Pools that spin for whole time slices while the awaited thread has no CPU would take milliseconds
// for each barrier, a hundred times as long as the work.
TEST_CASE("four pools on the CPUs of one share them without collapsing") {
  constexpr int kPools = 4, kPhases = 1000;
  std::vector<std::unique_ptr<ThreadPool>> pools;
  for (int i = 0; i < kPools; ++i) {
    auto pool =
        ThreadPool::create({.threads = std::max(2, std::min(usable_cpus(), 4)), .pin = false});
    REQUIRE(pool);
    pools.push_back(std::move(*pool));
  }
  run_phases(*pools[0], 100);
  auto began = std::chrono::steady_clock::now();
  run_phases(*pools[0], kPhases);
  const double alone = seconds_since(began);
  began = std::chrono::steady_clock::now();
  std::vector<std::thread> owners;
  for (auto& pool : pools) owners.emplace_back([&] { run_phases(*pool, kPhases); });
  for (std::thread& owner : owners) owner.join();
  const double crowded = seconds_since(began);
  INFO("alone " << alone << " s, four pools " << crowded << " s");
  CHECK(crowded < 10 * kPools * alone);
}

TEST_CASE("split covers everything once") {
  for (const std::size_t count : {0, 1, 7, 100})
    for (int parts = 1; parts <= 9; ++parts) {
      std::size_t next = 0;
      for (int part = 0; part < parts; ++part) {
        const IndexRange span = split(count, part, parts);
        CHECK(span.begin == next);
        CHECK(span.end - span.begin <= count / static_cast<std::size_t>(parts) + 1);
        next = span.end;
      }
      CHECK(next == count);
    }
}

}  // namespace troupe
