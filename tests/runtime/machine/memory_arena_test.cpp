#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <troupe/runtime/kernels/kernels.h>

namespace troupe::kernels {

TEST_CASE("buffers of any size are aligned, apart from each other, and can be moved") {
  std::mt19937 random(5);
  std::vector<AlignedBuffer> buffers;
  for (const std::size_t bytes : {0u, 1u, 63u, 64u, 49152u, 2u << 20, (2u << 20) + 1, 20u << 20})
    buffers.emplace_back(bytes);
  for (int i = 0; i < 400; ++i) {  // more than a chunk of the arena holds
    buffers.emplace_back(1 + random() % 200000);
    if (i % 3 == 0) {  // a piece in between is freed
      std::swap(buffers[random() % buffers.size()], buffers.back());
      buffers.pop_back();
    }
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    REQUIRE(reinterpret_cast<std::uintptr_t>(buffers[i].data()) % 64 == 0);
    std::memset(buffers[i].data(), static_cast<int>(i % 251), buffers[i].bytes());
  }
  const std::size_t bytes = buffers[4].bytes();
  AlignedBuffer moved = std::move(buffers[4]);
  CHECK(moved.bytes() == bytes);
  CHECK(buffers[4].bytes() == 0);
  buffers[4] = std::move(moved);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i)
    for (std::size_t at = 0; at < buffers[i].bytes(); ++at)
      wrong += buffers[i].data()[at] != static_cast<std::byte>(i % 251);
  CHECK(wrong == 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
namespace {

std::size_t resident_bytes() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("matrices of a few MiB take little more than their bytes") {
  // Sizes of layers in Q8_0 and F16, as they are loaded: each just above a number of huge pages.
  for (const std::size_t bytes : {1114112u, 3063808u, 5767168u}) {
    const std::size_t count = (std::size_t{192} << 20) / bytes;
    const std::size_t before = resident_bytes();
    std::vector<AlignedBuffer> buffers;
    for (std::size_t i = 0; i < count; ++i) {
      buffers.emplace_back(bytes);
      std::memset(buffers.back().data(), 1, bytes);
    }
    const std::size_t taken = resident_bytes() - before;
    INFO(count << " buffers of " << bytes << " bytes take " << taken);
    CHECK(taken < count * bytes + (std::size_t{8} << 20));
  }
}

TEST_CASE("small matrices give their pages back though others of the chunk stay") {
  constexpr std::size_t kBytes = 300'000, kCount = 400;
  std::vector<AlignedBuffer> buffers;
  const std::size_t before = resident_bytes();
  for (std::size_t i = 0; i < kCount; ++i) {
    buffers.emplace_back(kBytes);
    std::memset(buffers.back().data(), 1, kBytes);
  }
  const std::size_t full = resident_bytes() - before;
  // Three of four stretches of forty matrices are freed, in any order.
  std::vector<std::size_t> leaving;
  for (std::size_t i = 0; i < kCount; ++i)
    if (i / 40 % 4 != 0) leaving.push_back(i);
  std::mt19937 random(7);
  std::shuffle(leaving.begin(), leaving.end(), random);
  for (const std::size_t i : leaving) buffers[i] = AlignedBuffer();
  const std::size_t left = resident_bytes() - before;
  const std::size_t stay = (kCount - leaving.size()) * kBytes;
  INFO(full << " bytes before, " << left << " after, of which " << stay << " are needed");
  CHECK(full > kCount * kBytes / 2);
  CHECK(left < stay + (std::size_t{16} << 20));
  std::size_t wrong = 0;
  for (const AlignedBuffer& buffer : buffers)
    for (std::size_t at = 0; at < buffer.bytes(); ++at) wrong += buffer.data()[at] != std::byte{1};
  CHECK(wrong == 0);
}
#endif

TEST_CASE("a piece that came back is handed out again") {
  const AlignedBuffer keeps_the_chunk(50048);
  const std::byte* first = nullptr;
  {
    const AlignedBuffer page(50048);
    first = page.data();
  }
  const AlignedBuffer page(50048);
  CHECK(page.data() == first);
}

TEST_CASE("buffers come and go on several threads") {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t thread = 0; thread < wrong.size(); ++thread)
    threads.emplace_back([&wrong, thread] {
      std::mt19937 random(static_cast<unsigned>(thread));
      std::vector<AlignedBuffer> mine(8);
      for (int i = 0; i < 2000; ++i) {
        AlignedBuffer& buffer = mine[random() % mine.size()];
        buffer = AlignedBuffer(64 * (1 + random() % 64));
        std::memset(buffer.data(), static_cast<int>(thread), buffer.bytes());
        for (const AlignedBuffer& other : mine)
          if (other.bytes() > 0 && other.data()[other.bytes() - 1] != std::byte(thread))
            ++wrong[thread];
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("gaps that touch are one gap") {
  std::vector<AlignedBuffer> buffers;
  for (int i = 0; i < 5; ++i) buffers.emplace_back(64'000);
  const std::byte* const second = buffers[1].data();
  for (const std::size_t i : {1u, 3u, 2u}) buffers[i] = AlignedBuffer();
  const AlignedBuffer large(3 * 64'000);
  CHECK(large.data() == second);
}

}  // namespace troupe::kernels
