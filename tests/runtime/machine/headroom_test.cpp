#include <catch2/catch.hpp>
#include <sys/resource.h>

#include <troupe/runtime/machine/headroom.h>

namespace troupe {
namespace {

using Catch::Matchers::Contains;

// Sets a limit while the object exists.
class Limited {
 public:
  Limited(__rlimit_resource which, rlim_t most) : which_(which) {
    REQUIRE(::getrlimit(which, &before_) == 0);
    rlimit limit = before_;
    limit.rlim_cur = most;
    REQUIRE(::setrlimit(which, &limit) == 0);
  }
  ~Limited() { ::setrlimit(which_, &before_); }

 private:
  __rlimit_resource which_;
  rlimit before_{};
};

}  // namespace

TEST_CASE("headroom: what can be had is enough, again and again") {
  for (int i = 0; i < 20; ++i) CHECK(check_headroom({24, 48}).is_ok());
  CHECK(check_headroom({}).is_ok());
}

// A sanitizer's own address space is far larger than the limit.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("headroom: too little address space for the stacks is told before they are needed") {
  Status status;
  {
    const Limited limited(RLIMIT_AS, rlim_t{600} << 20);
    status = check_headroom({2000, 0});
  }
  REQUIRE(status.code() == Code::kResourceExhausted);
  CHECK_THAT(status.message(), Contains("of the 2000 more threads") && Contains("ulimit -v"));
}
#endif

TEST_CASE("headroom: too few descriptors are told with the numbers") {
  Status status;
  {
    const Limited limited(RLIMIT_NOFILE, 20);
    status = check_headroom({0, 48});
  }
  REQUIRE(status.code() == Code::kResourceExhausted);
  CHECK_THAT(status.message(), Contains("may open 20 files") && Contains("ulimit -n"));
}

}  // namespace troupe
