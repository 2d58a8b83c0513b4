#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
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

TEST_CASE("no more memory is offered than the control group leaves") {
  const auto folder =
      std::filesystem::temp_directory_path() / ("troupe-offered-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder / "sys" / "a");
  std::ofstream(folder / "self") << "0::/a\n";
  const auto offered = [&](const std::string& limit) {
    std::ofstream(folder / "sys" / "a" / "memory.max") << limit;
    return offered_memory(folder / "self", folder / "sys");
  };
  const std::uint64_t total = machine_memory().total_bytes;
  CHECK(offered("max\n") == total);
  CHECK(offered("268435456\n") == 256u << 20);
  CHECK(offered(std::to_string(total + 4096)) == total);  // a limit above the machine's memory
  CHECK(offered_memory("/nonexistent/self", "/nonexistent") == total);
  CHECK(offered_memory() <= total);
  std::filesystem::remove_all(folder);
}

}  // namespace troupe
