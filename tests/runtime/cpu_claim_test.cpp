#include <filesystem>
#include <string>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <troupe/runtime/cpu_claim.h>
#include <troupe/runtime/thread_pool.h>

namespace troupe {

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
