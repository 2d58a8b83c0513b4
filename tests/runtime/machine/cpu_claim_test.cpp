#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <sched.h>
#include <unistd.h>

#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/thread_pool.h>

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
  double cpus(const std::string& self) const {
    write("self", self);
    return cgroup_cpus(folder / "self", folder / "sys");
  }
  std::filesystem::path folder;
};

}  // namespace

TEST_CASE("quotas of cgroup v2: the tightest on the way up counts") {
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
  groups.write("sys/memory/a/cpu.cfs_quota_us", "1000\n");  // not this controller's
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

TEST_CASE("the affinity mask of the thread counts, as taskset sets it") {
  const std::vector<int> all = allowed_cpus();
  std::vector<int> seen;
  int usable = 0, threads = 0;
  // A thread of its own: the mask of the others stays.
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(all.back()), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) return;
    seen = allowed_cpus();
    usable = usable_cpus();
    const auto pool = ThreadPool::create({});
    threads = pool ? (*pool)->threads() : -1;
  }).join();
  CHECK(seen == std::vector<int>{all.back()});
  CHECK(usable == 1);
  CHECK(threads == 1);
  CHECK(allowed_cpus() == all);
}

TEST_CASE("usable_cpus is within the affinity mask") {
  CHECK(usable_cpus() >= 1);
  CHECK(usable_cpus() <= static_cast<int>(allowed_cpus().size()));
}

TEST_CASE("a CPU is claimed once, and again when the first claim is gone") {
  const auto folder =
      std::filesystem::temp_directory_path() / ("troupe-claim-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const int all = static_cast<int>(allowed_cpus().size());
  {
    const CpuClaim first = claim_cpus(all, folder);
    REQUIRE(first.cpus.size() == static_cast<std::size_t>(all));
    CHECK(claim_cpus(1, folder).cpus.empty());
  }
  CHECK(claim_cpus(all + 1, folder).cpus.empty());  // all or none: nothing stays claimed
  CHECK(claim_cpus(all, folder).cpus.size() == static_cast<std::size_t>(all));
  std::filesystem::remove_all(folder);
}

TEST_CASE("the folder of the claims is this user's alone") {
  const auto folder = cpu_claim_folder();
  REQUIRE(folder);
  const auto permissions = std::filesystem::status(*folder).permissions();
  CHECK((permissions & (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) ==
        std::filesystem::perms::none);
}

}  // namespace troupe
