#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include <troupe/runtime/machine/process_memory.h>

namespace troupe {

TEST_CASE("the machine's memory and this process's part of it") {
  const MachineMemory memory = machine_memory();
  CHECK(memory.total_bytes > 0);
  CHECK(memory.available_bytes > 0);
  CHECK(memory.available_bytes <= memory.total_bytes);
  CHECK(resident_bytes_max() > 0);
  CHECK(resident_bytes_max() <= memory.total_bytes);
}

namespace {

struct Group {
  Group() {
    folder =
        std::filesystem::temp_directory_path() / ("troupe-offered-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder / "sys" / "a");
    write("self", "0::/a\n");
  }
  ~Group() { std::filesystem::remove_all(folder); }
  void write(const std::string& file, const std::string& text) const {
    std::ofstream(folder / file) << text;
  }
  MemoryOffer offer() const { return memory_offer(folder / "self", folder / "sys"); }
  std::filesystem::path folder;
};

constexpr std::uint64_t kMiB = 1 << 20;

}  // namespace

TEST_CASE("no more memory is offered than the machine and the control group have left") {
  const Group group;
  const std::uint64_t available = machine_memory().available_bytes;
  const MemoryOffer machine = group.offer();
  CHECK(machine.bytes <
        available + available / 16);  // other programs take and return memory all the time
  CHECK(machine.bytes > available / 2);
  group.write("sys/a/memory.max", "max\n");
  CHECK(group.offer().pool == machine.pool);
  group.write("sys/a/memory.max", std::to_string(1024 * kMiB));
  const MemoryOffer limited = group.offer();
  CHECK(limited.bytes == (1024 - 64 - 64) * kMiB);  // minus 64 MiB, minus a sixteenth
  CHECK(limited.pool != machine.pool);
  CHECK(limited.pool.size() <= 64);
  // Memory in use is not offered, but cached files do not count as used.
  group.write("sys/a/memory.current", std::to_string(600 * kMiB));
  group.write("sys/a/memory.stat", "anon 1\ninactive_file " + std::to_string(88 * kMiB) + "\n");
  CHECK(group.offer().bytes == (512 - 64 - 32) * kMiB);
  // A group that is almost full offers nothing.
  group.write("sys/a/memory.current", std::to_string(1100 * kMiB));
  CHECK(group.offer().bytes == 0);
  group.write("sys/a/memory.max", std::to_string(machine_memory().total_bytes * 4));
  CHECK(group.offer().pool == machine.pool);
}

// A sanitizer's own address space is far larger than the limit.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("no more memory is offered than the address space can hold") {
  CHECK_FALSE(address_space_left().has_value());  // tests run without a limit
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  rlimit limit = before;
  limit.rlim_cur = std::uint64_t{2} << 30;
  REQUIRE(::setrlimit(RLIMIT_AS, &limit) == 0);
  const auto left = address_space_left();
  const std::uint64_t bytes = offered_memory();
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
  REQUIRE(left.has_value());
  CHECK(*left < limit.rlim_cur);
  CHECK(bytes < *left / 2);
}
#endif

}  // namespace troupe
