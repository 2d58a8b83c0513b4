#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

// Named places at which a test makes the world fail: an error is returned, or the process dies,
// just before, in the middle of, or just after the moment at which something becomes durable. They
// are always compiled in; a failpoint that no test has armed costs one atomic load. Any thread may
// call.

namespace troupe {

// What happens when the failpoint is reached: an error that it returns, or the end of the process.
using FailAction = std::function<Status()>;

// Returns ok, unless the failpoint ROOM.CALL.POINT is armed.
Status failpoint(std::string_view room, std::string_view call, std::string_view point);
// Arms a failpoint: `action` runs the `nth` time that it is reached (1: the next time), and every
// time after that.
void arm_failpoint(std::string name, int nth, FailAction action);
void disarm_failpoints();
// Arms a failpoint from the text "NAME:NTH", which ends the process with SIGKILL when NAME is
// reached for the NTH time.
//   Errors: kInvalidArgument if the text is not of this form.
Status arm_failpoint_from(const std::string& text);
// Does the same with the text of the variable TROUPE_FAILPOINT, for tests of the command, and
// nothing if the variable is not set.
//   Errors: those of arm_failpoint_from; kPermissionDenied in a build without tests, unless root
//   asks.
Status arm_failpoint_from_environment();
// Says whether the user `uid` may arm a failpoint from outside, in a build with or without tests.
//   Errors: kPermissionDenied.
Status may_arm_failpoint(bool with_tests, unsigned uid);

}  // namespace troupe
