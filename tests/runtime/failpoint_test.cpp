#include <cstdlib>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <troupe/runtime/failpoint.h>

using namespace troupe;

TEST_CASE("failpoint: the variable arms one for tests, and a wrong text is refused") {
  ::unsetenv("TROUPE_FAILPOINT");
  CHECK(arm_failpoint_from_environment().is_ok());
  for (const char* wrong : {"", "a.b.c", "a.b.c:", "a.b.c:0", "a.b.c:x"}) {
    ::setenv("TROUPE_FAILPOINT", wrong, 1);
    CHECK(arm_failpoint_from_environment().code() == Code::kInvalidArgument);
  }
  ::unsetenv("TROUPE_FAILPOINT");
  disarm_failpoints();
}

TEST_CASE("failpoint: a release takes none from outside, unless root asks") {
  const Status refused = may_arm_failpoint(false, 1000);
  CHECK(refused.code() == Code::kPermissionDenied);
  CHECK(refused.message().find("TROUPE_FAILPOINT") != std::string::npos);
  CHECK(may_arm_failpoint(false, 0).is_ok());
  CHECK(may_arm_failpoint(true, 1000).is_ok());
}
