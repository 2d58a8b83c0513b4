#pragma once

// The host compiler's side of gpu.h: CUDA's thread model on one host thread, for tests. A block's
// threads are fibers, which run until they meet: at __syncthreads or in a warp-wide operation. It
// shows faults that a real GPU hides:
//   order      schedule_seed() says which warps and blocks run ahead of which: run a test under
//              several seeds, and a missing barrier or a race between blocks changes bits
//   poison     shared and allocated memory begins as NaN and -1
//   deadlock   threads that wait for each other for ever, at different lines or with lanes that
//              have left, end the program with both lines
//   bounds     global and shared memory are plain heap blocks: AddressSanitizer sees each access
// It does not model the memory hierarchy, speed, or relaxed ordering between blocks in flight:
// blocks of one launch must not depend on each other. Included by gpu.h only.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <setjmp.h>
#include <ucontext.h>

#define TROUPE_CUDA_SIDE emulated
namespace troupe::cuda {
inline namespace TROUPE_CUDA_SIDE {}
}  // namespace troupe::cuda

#define __global__ inline
#define __device__
#define __restrict__
#define __launch_bounds__(...)
#define GPU_SHARED(T, name, count)                                             \
  T* const name = ::troupe::cuda::TROUPE_CUDA_SIDE::threads::shared_memory<T>( \
      [] {                                                                     \
        static char site;                                                      \
        return &site;                                                          \
      }(),                                                                     \
      count)

struct float2 {
  float x, y;
};
struct alignas(8) uint2 {
  std::uint32_t x, y;
};
struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace troupe::cuda::TROUPE_CUDA_SIDE::threads {

inline unsigned& schedule_seed() {
  static unsigned seed = 0;
  return seed;
}

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "gpu emulation: %s\n", what.c_str());
  std::abort();
}

constexpr unsigned kLanes = 32;
constexpr std::size_t kStackBytes = 64 << 10, kSharedBytes = 48 << 10;

// The words that a lane contributes to a warp-wide operation.
struct Words {
  std::uint32_t w[6];
};

// A meeting of the lanes of one mask, or of a whole block.
struct Meeting {
  unsigned arrived = 0, line = 0, generation = 0;
  Words brought[kLanes], all[kLanes];
};

// A stack, on which the threads with one index run, block after block.
struct Fiber {
  ucontext_t begin;
  jmp_buf here;
  bool started = false;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
};

struct Thread {
  Fiber* fiber = nullptr;
  unsigned index = 0, line = 0;
  bool done = false;
  const Meeting* waits_for = nullptr;
  unsigned waits_generation = 0;
  bool ready() const {
    return !done && (waits_for == nullptr || waits_for->generation != waits_generation);
  }
};

struct Block {
  dim3 index, grid;
  unsigned count = 0;
  std::vector<Thread> threads;
  Meeting barrier;
  std::vector<std::map<unsigned, Meeting>> warps;  // by mask
  std::map<const void*, std::unique_ptr<char[]>> shared;
  std::size_t shared_bytes = 0;
  unsigned meetings = 0;  // that have ended
  const std::function<void()>* body = nullptr;
  Thread* self = nullptr;
  jmp_buf scheduler;
};

inline Block*& block() {
  static thread_local Block* now = nullptr;
  return now;
}

// Returns one of the fibers of this host thread.
inline Fiber* fiber_of(unsigned thread) {
  static thread_local std::vector<std::unique_ptr<Fiber>> fibers;
  while (fibers.size() <= thread) fibers.push_back(std::make_unique<Fiber>());
  return fibers[thread].get();
}

template <class T>
T* shared_memory(const void* site, std::size_t count) {
  auto& memory = block()->shared[site];
  if (!memory) {
    if ((block()->shared_bytes += count * sizeof(T)) > kSharedBytes) fail("too much shared memory");
    memory.reset(new char[count * sizeof(T)]);
    std::memset(memory.get(), 0xff, count * sizeof(T));
  }
  return reinterpret_cast<T*>(memory.get());
}

inline void wait(Meeting& meeting) {
  Block& b = *block();
  Thread& self = *b.self;
  self.waits_for = &meeting;
  self.waits_generation = meeting.generation;
  if (_setjmp(self.fiber->here) == 0) _longjmp(b.scheduler, 1);
  self.waits_for = nullptr;
}

inline void arrive(Meeting& meeting, unsigned line) {
  if (meeting.arrived++ != 0 && meeting.line != line)
    fail("threads of a block meet at lines " + std::to_string(meeting.line) + " and " +
         std::to_string(line));
  meeting.line = block()->self->line = line;
}

inline void sync_block(unsigned line) {
  Block& b = *block();
  arrive(b.barrier, line);
  const auto left =
      std::count_if(b.threads.begin(), b.threads.end(), [](const Thread& t) { return !t.done; });
  if (b.barrier.arrived < left) return wait(b.barrier);
  b.barrier.arrived = 0;
  ++b.barrier.generation;
  ++b.meetings;
}

// Exchanges words: every lane of `mask` contributes some, and sees the words of all lanes.
inline const Words* exchange(unsigned mask, const Words& mine, unsigned line) {
  Block& b = *block();
  const unsigned lane = b.self->index % kLanes;
  if ((mask >> lane & 1) == 0) fail("a lane is not in its own mask, line " + std::to_string(line));
  Meeting& meeting = b.warps[b.self->index / kLanes][mask];
  meeting.brought[lane] = mine;
  arrive(meeting, line);
  if (meeting.arrived < static_cast<unsigned>(__builtin_popcount(mask))) {
    wait(meeting);
  } else {
    std::copy_n(meeting.brought, kLanes, meeting.all);
    meeting.arrived = 0;
    ++meeting.generation;
    ++b.meetings;
  }
  return meeting.all;
}

// A fiber begins here, and runs the body of one thread of each block, block after block.
inline void enter() {
  for (;;) {
    (*block()->body)();
    block()->self->done = true;
    if (_setjmp(block()->self->fiber->here) == 0) _longjmp(block()->scheduler, 1);
  }
}

inline void resume(Block& b, Thread& thread) {
  b.self = &thread;
  if (_setjmp(b.scheduler) != 0) return;
  Fiber& fiber = *thread.fiber;
  if (fiber.started) _longjmp(fiber.here, 1);
  fiber.started = true;
  getcontext(&fiber.begin);
  fiber.begin.uc_stack.ss_sp = fiber.stack.get();
  fiber.begin.uc_stack.ss_size = kStackBytes;
  makecontext(&fiber.begin, enter, 0);
  setcontext(&fiber.begin);
}

// Returns the order in which threads run. Seed 0: by number. 1: from the last. Others: at random,
// but a warp's lanes stay together.
inline std::vector<unsigned> in_order(unsigned count, unsigned together, std::mt19937& random) {
  std::vector<unsigned> units((count + together - 1) / together), order;
  std::iota(units.begin(), units.end(), 0u);
  if (schedule_seed() == 1) std::reverse(units.begin(), units.end());
  if (schedule_seed() > 1) std::shuffle(units.begin(), units.end(), random);
  for (const unsigned unit : units)
    for (unsigned i = unit * together; i < std::min(count, (unit + 1) * together); ++i)
      order.push_back(i);
  return order;
}

// Runs a block. The first thread in order that can continue always does: a warp runs as far as it
// can before a later one takes a step, which uncovers a missing barrier on either side.
inline void run_block(Block& b, std::mt19937& random) {
  b.threads.resize(b.count);
  b.warps.resize(b.count / kLanes);
  for (unsigned i = 0; i < b.count; ++i) {
    b.threads[i].index = i;
    b.threads[i].fiber = fiber_of(i);
  }
  block() = &b;
  const std::vector<unsigned> order = in_order(b.count, kLanes, random);
  for (std::size_t at = 0; at < order.size();) {
    Thread& thread = b.threads[order[at]];
    if (!thread.ready()) {
      ++at;
      continue;
    }
    const unsigned met = b.meetings;
    resume(b, thread);
    if (b.meetings != met) at = 0;  // other threads may go on now
  }
  block() = nullptr;
  for (const Thread& t : b.threads)
    if (!t.done)
      fail("thread " + std::to_string(t.index) + " waits for ever at line " +
           std::to_string(t.line));
}

struct Index {
  unsigned x, y, z;
};

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE::threads

#define threadIdx                                    \
  (::troupe::cuda::TROUPE_CUDA_SIDE::threads::Index{ \
      ::troupe::cuda::TROUPE_CUDA_SIDE::threads::block()->self->index, 0, 0})
#define blockIdx (::troupe::cuda::TROUPE_CUDA_SIDE::threads::block()->index)
#define gridDim (::troupe::cuda::TROUPE_CUDA_SIDE::threads::block()->grid)
#define blockDim                                     \
  (::troupe::cuda::TROUPE_CUDA_SIDE::threads::Index{ \
      ::troupe::cuda::TROUPE_CUDA_SIDE::threads::block()->count, 1, 1})

namespace troupe::cuda::TROUPE_CUDA_SIDE {

inline void __syncthreads(unsigned line = __builtin_LINE()) { threads::sync_block(line); }
inline void __syncwarp(unsigned mask = ~0u, unsigned line = __builtin_LINE()) {
  threads::exchange(mask, {}, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int = 32, unsigned line = __builtin_LINE()) {
  static_assert(sizeof(T) == 4);
  threads::Words mine{};
  std::memcpy(mine.w, &value, 4);
  const unsigned from = (threads::block()->self->index % 32) ^ static_cast<unsigned>(with);
  if ((mask >> from & 1) == 0) threads::fail("a shuffle reads a lane outside its mask");
  std::memcpy(&value, threads::exchange(mask, mine, line)[from].w, 4);
  return value;
}

inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float square_root(float a) { return std::sqrt(a); }
inline float as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline std::uint32_t as_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
// Returns the result of the hardware's conversion. It is written independently of
// runtime/numerics/half.cpp, with which a test compares it.
inline float from_half(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u;
  const std::uint32_t rest = bits & 1023u;
  if (exponent == 0) return as_float(sign | as_bits(static_cast<float>(rest) * 0x1p-24f));
  if (exponent == 31 && rest != 0) return as_float(sign | 0x7fc00000u | rest << 13);
  return as_float(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | rest << 13);
}

inline int dot4(std::uint32_t a, std::uint32_t b, int c) {
  for (int i = 0; i < 32; i += 8)
    c += static_cast<std::int8_t>(a >> i) * static_cast<std::int8_t>(b >> i);
  return c;
}

// Multiplies fragments of m16n8k32 as PTX draws them.
inline void mma_s8(int (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                   unsigned line = __builtin_LINE()) {
  const threads::Words* all = threads::exchange(~0u, {{a[0], a[1], a[2], a[3], b[0], b[1]}}, line);
  const unsigned lane = threads::block()->self->index % 32;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (unsigned k4 = 0; k4 < 8; ++k4)  // each word has four values of k
      d[i] = dot4(all[row % 8 * 4 + k4 % 4].w[row / 8 + k4 / 4 * 2],
                  all[column * 4 + k4 % 4].w[4 + k4 / 4], d[i]);
  }
}

using Error = int;
struct Stream {};

// The emulation's memory and the error that it will report, so that tests can fill a card or break
// it.
struct EmulatedCard {
  std::size_t all_bytes = std::size_t{256} << 20;
  std::atomic<std::size_t> used_bytes{0};
  Error fails = 0;        // what the next wait_for reports, and every one after it
  std::size_t waits = 0;  // how many waits succeed before that
};
inline EmulatedCard& emulated_card() {
  static EmulatedCard card;
  return card;
}

constexpr Error kOutOfMemory = 2, kIllegalAddress = 700;
inline std::string describe(Error error) {
  return error == kOutOfMemory      ? "out of memory"
         : error == kIllegalAddress ? "an illegal memory access was encountered"
                                    : "error " + std::to_string(error);
}
inline bool is_sticky(Error error) { return error != 0 && error != kOutOfMemory; }
inline bool is_out_of_memory(Error error) { return error == kOutOfMemory; }

inline Error use_device(int) { return 0; }
inline Error make_stream(Stream*) { return 0; }
inline void end_stream(Stream) {}
// Returns the error that a call of this thread returned last. As in the CUDA runtime, it stays
// until last_error() returns it.
inline Error& kept_error() {
  static thread_local Error error = 0;
  return error;
}
inline Error last_error() { return std::exchange(kept_error(), 0); }
inline Error wait_for(Stream) {
  EmulatedCard& card = emulated_card();
  if (card.fails == 0 || card.waits == 0) return card.fails;
  --card.waits;
  return 0;
}
inline Error memory_of(std::size_t* free_bytes, std::size_t* all_bytes) {
  *all_bytes = emulated_card().all_bytes;
  *free_bytes = *all_bytes - emulated_card().used_bytes;
  return 0;
}
// A size in front of each allocation, so that release() knows it. The memory itself is poisoned.
constexpr std::size_t kFrontBytes = 64;
inline Error allocate(std::byte** memory, std::size_t bytes) {
  EmulatedCard& card = emulated_card();
  if (bytes > card.all_bytes - card.used_bytes) return kept_error() = kOutOfMemory;
  const std::size_t whole = (bytes + kFrontBytes + 63) / 64 * 64;
  auto* at = static_cast<std::byte*>(std::aligned_alloc(64, whole));
  if (at == nullptr) return kept_error() = kOutOfMemory;
  std::memcpy(at, &bytes, sizeof(bytes));
  std::memset(at + kFrontBytes, 0xff, bytes);
  card.used_bytes += bytes;
  *memory = at + kFrontBytes;
  return 0;
}
inline void release(std::byte* memory) {
  if (memory == nullptr) return;
  std::size_t bytes = 0;
  std::memcpy(&bytes, memory - kFrontBytes, sizeof(bytes));
  emulated_card().used_bytes -= bytes;
  std::free(memory - kFrontBytes);
}
inline Error allocate_pinned(std::byte** memory, std::size_t bytes) {
  *memory = static_cast<std::byte*>(std::malloc(bytes));
  if (*memory == nullptr) return kept_error() = kOutOfMemory;
  return 0;
}
inline void release_pinned(std::byte* memory) { std::free(memory); }
inline Error copy_in(Stream, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
  return 0;
}
inline Error copy_out(Stream, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
  return 0;
}

// The launches of a recording, which run when it is played.
class Recording {
 public:
  bool empty() const { return launches_.empty(); }
  Error begin(Stream) {
    current() = this;
    return 0;
  }
  Error end(Stream) {
    current() = nullptr;
    return 0;
  }
  Error play(Stream) {
    for (const std::function<void()>& launch : launches_) launch();
    return 0;
  }
  void add(std::function<void()> launch) { launches_.push_back(std::move(launch)); }
  static Recording*& current() {
    static thread_local Recording* recording = nullptr;
    return recording;
  }

 private:
  std::vector<std::function<void()>> launches_;
};

namespace threads {

// Runs every block of a launch.
inline void run_grid(dim3 grid, unsigned thread_count, const std::function<void()>& body) {
  if (thread_count == 0 || thread_count > 1024 || thread_count % kLanes != 0)
    fail("a block of " + std::to_string(thread_count) + " threads");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    fail("a grid that CUDA does not allow");
  std::mt19937 random(schedule_seed());
  for (const unsigned i : in_order(grid.x * grid.y * grid.z, 1, random)) {
    Block block{};
    block.index = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
    block.grid = grid;
    block.count = thread_count;
    block.body = &body;
    run_block(block, random);
  }
}

}  // namespace threads

template <class... P, class... A>
void launch(Stream, void (*kernel)(P...), dim3 grid, unsigned thread_count, A... arguments) {
  const auto run = [=] {
    threads::run_grid(grid, thread_count, [=] { kernel(static_cast<P>(arguments)...); });
  };
  if (Recording* recording = Recording::current()) {
    recording->add(run);
  } else {
    run();
  }
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
