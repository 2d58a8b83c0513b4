#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe {

namespace {

// A folder of control groups as the kernel shows them, and what /proc/self/cgroup says.
struct FakeGroups {
  FakeGroups() {
    static int count = 0;
    folder = std::filesystem::temp_directory_path() /
             ("troupe-cgroup-" + std::to_string(getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(folder);
  }
  ~FakeGroups() { std::filesystem::remove_all(folder); }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((folder / path).parent_path());
    std::ofstream(folder / path) << text;
  }
  CgroupLimits limits(const std::string& self) const {
    write("self", self);
    return cgroup_limits(folder / "self", folder / "sys");
  }
  // 0: no limit.
  double cpus(const std::string& self) const { return limits(self).cpus.value_or(0); }
  std::uint64_t memory(const std::string& self) const {
    return limits(self).memory_bytes.value_or(0);
  }
  std::filesystem::path folder;
};

}  // namespace

TEST_CASE("quotas of cgroup v2: the tightest on the path to the root counts") {
  const FakeGroups groups;
  CHECK(groups.cpus("0::/a/b\n") == 0);  // no file at all
  groups.write("sys/a/b/cpu.max", "max 100000\n");
  CHECK(groups.cpus("0::/a/b\n") == 0);
  groups.write("sys/a/cpu.max", "150000 100000\n");
  CHECK(groups.cpus("0::/a/b\n") == 1.5);
  groups.write("sys/a/b/cpu.max", "400000 100000\n");
  CHECK(groups.cpus("0::/a/b\n") == 1.5);
  groups.write("sys/a/b/cpu.max", "20000 40000\n");
  CHECK(groups.cpus("0::/a/b\n") == 0.5);
  CHECK(groups.cpus("0::/a\n") == 1.5);
  CHECK(groups.cpus("0::/other\n") == 0);
  CHECK(groups.cpus("0::/\n") == 0);
  groups.write("sys/cpu.max", "300000 100000\n");
  CHECK(groups.cpus("0::/\n") == 3);
  // A container sees its own group at the top, and a path of the host that is not there.
  CHECK(groups.cpus("0::/docker/0123\n") == 3);
}

TEST_CASE("quotas of cgroup v1: the cpu controller's, in either kind of folder") {
  const FakeGroups groups;
  const std::string self = "5:memory:/a\n4:cpuset:/a\n3:cpu,cpuacct:/a\n0::/a\n";
  groups.write("sys/memory/a/cpu.cfs_quota_us", "1000\n");  // another controller's
  groups.write("sys/memory/a/cpu.cfs_period_us", "100000\n");
  CHECK(groups.cpus(self) == 0);
  groups.write("sys/cpu/a/cpu.cfs_quota_us", "250000\n");
  groups.write("sys/cpu/a/cpu.cfs_period_us", "100000\n");
  CHECK(groups.cpus(self) == 2.5);
  groups.write("sys/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  groups.write("sys/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  CHECK(groups.cpus(self) == 0);  // -1: none
  groups.write("sys/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
  groups.write("sys/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(groups.cpus(self) == 0.5);
}

TEST_CASE("files of quotas that cannot be understood set none") {
  const FakeGroups groups;
  for (const char* text : {"", "\n", "max", "100000", "100000 ", "100000 0\n", "-5 100000\n",
                           "99999999999999999999 100000\n", "a b\n"}) {
    INFO(text);
    groups.write("sys/cpu.max", text);
    CHECK(groups.cpus("0::/\n") == 0);
  }
  groups.write("sys/cpu.max", "100000 100000\n");
  for (const char* self : {"", "0", "0:", "\n\n", ":::::"}) {
    INFO(self);
    CHECK(groups.cpus(self) >= 0);  // read without harm
  }
}

TEST_CASE("memory of cgroup v2: the tightest on the path to the root counts") {
  const FakeGroups groups;
  CHECK(groups.memory("0::/a/b\n") == 0);
  groups.write("sys/a/b/memory.max", "max\n");
  CHECK(groups.memory("0::/a/b\n") == 0);
  groups.write("sys/a/memory.max", "1073741824\n");
  CHECK(groups.memory("0::/a/b\n") == 1u << 30);
  groups.write("sys/a/b/memory.max", "4294967296\n");
  CHECK(groups.memory("0::/a/b\n") == 1u << 30);
  groups.write("sys/a/b/memory.max", "536870912\n");
  CHECK(groups.memory("0::/a/b\n") == 1u << 29);
  CHECK(groups.memory("0::/other\n") == 0);
  groups.write("sys/memory.max", "2147483648\n");
  CHECK(groups.memory("0::/docker/0123\n") == 1u << 31);
}

TEST_CASE("memory of cgroup v1: the memory controller's; a huge number is no limit") {
  const FakeGroups groups;
  const std::string self = "5:memory:/a\n3:cpu,cpuacct:/a\n";
  groups.write("sys/cpu/a/memory.limit_in_bytes", "4096\n");  // another controller's
  CHECK(groups.memory(self) == 0);
  groups.write("sys/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(groups.memory(self) == 0);
  groups.write("sys/memory/memory.limit_in_bytes", "1073741824\n");
  CHECK(groups.memory(self) == 1u << 30);
}

TEST_CASE("files of memory limits that cannot be understood set none") {
  const FakeGroups groups;
  for (const char* text : {"", "\n", "max", "-5\n", "0\n", "99999999999999999999999\n", "a b\n"}) {
    INFO(text);
    groups.write("sys/memory.max", text);
    CHECK(groups.memory("0::/\n") == 0);
  }
}

}  // namespace troupe
