#include <csignal>

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/tests/runtime/cuda/cuda_fixture.h>

// Tests the faults that the emulation reveals. A kernel that must end the program runs in a child
// process.

using namespace troupe::cuda;

namespace {

void one_branch_waits(int* out) {
  if (threadIdx.x < 32) __syncthreads();
  if (threadIdx.x >= 32) __shfl_xor_sync(0xffffffffu, 1, 1);
  out[threadIdx.x] = 1;
}
void lanes_shuffle_and_leave(int* out) {
  if (threadIdx.x % 2 == 0) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
void outside_the_mask(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 16);
}
void barriers_at_two_lines(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    out[0] = 1;
    __syncthreads();
  }
}
void too_much_shared(int* out) {
  GPU_SHARED(int, large, 20000);
  out[threadIdx.x] = large[0];
}
void sound(int* out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, static_cast<int>(threadIdx.x), 5);
}
// Lets thread i of a warp write and its neighbour in the next warp read, without a barrier in
// between.
void racy(int* out) {
  GPU_SHARED(int, shared, 64);
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = shared[(threadIdx.x + 32) % 64];
}

bool aborts(void (*kernel)(int*)) {
  int memory[64] = {};
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    static_cast<void>(freopen("/dev/null", "w", stderr));
    launch(Stream{}, kernel, dim3(1), 64, memory);
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

}  // namespace

TEST_CASE("cuda: the emulation ends a program whose threads wait for each other for ever") {
  CHECK_FALSE(aborts(sound));
  CHECK(aborts(one_branch_waits));
  CHECK(aborts(lanes_shuffle_and_leave));
  CHECK(aborts(outside_the_mask));
  CHECK(aborts(barriers_at_two_lines));
  CHECK(aborts(too_much_shared));
}

TEST_CASE("cuda: a missing barrier shows as poison or as bits that depend on the schedule") {
  std::vector<std::vector<int>> seen;
  under_every_schedule([&] {
    DeviceVector<int> out(64);
    launch(Stream{}, racy, dim3(1), 64, out.data());
    seen.push_back(out.read());
  });
  CHECK(seen[0] != seen[1]);
}
