#include <filesystem>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <sched.h>
#include <unistd.h>

#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/thread_pool.h>

namespace troupe {

TEST_CASE("the affinity mask of the thread counts, as taskset sets it") {
  const std::vector<int> all = allowed_cpus();
  std::vector<int> seen;
  int usable = 0, threads = 0;
  // Use a separate thread, so that the mask of the others stays.
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
