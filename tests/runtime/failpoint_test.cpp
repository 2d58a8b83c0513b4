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
