#include <filesystem>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/runtime/machine/troubles.h>

namespace troupe {
namespace {

using Catch::Matchers::Contains;

MachineReading sound() {
  MachineReading reading;
  reading.home = "/home/ada/.troupe";
  reading.disk_free_bytes = 5ull << 30;
  reading.memory_free_bytes = 2ull << 30;
  reading.threads = 4;
  reading.descriptors = 60;
  reading.descriptors_max = 1024;
  return reading;
}

TEST_CASE("troubles: a sound machine has none") {
  MachineReading reading = sound();
  CHECK(troubles_of(reading).empty());
  reading.cpus_granted = 3.7;  // of four threads
  CHECK(troubles_of(reading).empty());
  CHECK(troubles_of(MachineReading{}).empty());  // nothing could be read
}

TEST_CASE("troubles: each limit that binds is a sentence with what to do") {
  SECTION("a disk that is nearly full") {
    MachineReading reading = sound();
    reading.disk_free_bytes = (1u << 30) - 1;
    const auto found = troubles_of(reading);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0].text,
               Contains("the disk of /home/ada/.troupe is nearly full (1073 MB are free)"));
    CHECK_THAT(found[0].text, Contains("`troupe rm`"));
  }
  SECTION("memory, of the machine or of a group") {
    MachineReading reading = sound();
    reading.memory_free_bytes = 100'000'000;
    auto found = troubles_of(reading);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0].text, Contains("this machine has only 100 MB of memory left"));
    reading.memory_group = "/slurm/job_7";
    found = troubles_of(reading);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0].text, Contains("the control group /slurm/job_7 leaves only 100 MB"));
  }
  SECTION("a CPU quota below the number of threads") {
    MachineReading reading = sound();
    reading.cpus_granted = 1.5;
    const auto found = troubles_of(reading);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0].text, Contains("grant 1.50 CPUs to 4 threads"));
    CHECK_THAT(found[0].text, Contains("--threads 1"));
  }
  SECTION("open files") {
    MachineReading reading = sound();
    reading.descriptors = 900;
    const auto found = troubles_of(reading);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0].text, Contains("of 1024 files and sockets 900 are open"));
  }
}

TEST_CASE("troubles: a reading of this machine has what the kernel tells") {
  const MachineReading reading = read_machine(std::filesystem::temp_directory_path(), 1);
  REQUIRE(reading.disk_free_bytes);
  REQUIRE(reading.memory_free_bytes);
  REQUIRE(reading.descriptors);
  CHECK(*reading.descriptors >= 3);
  CHECK(reading.threads == 1);
  CHECK_FALSE(read_machine("/no/such/folder", 1).disk_free_bytes);
}

}  // namespace
}  // namespace troupe
