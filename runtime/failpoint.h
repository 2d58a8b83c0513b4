#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

// Named places at which a test makes the world fail: an error is returned, or the process dies,
// just before, in the middle of, or just after what must be durable. Compiled in always; where no
// test has armed one, a failpoint costs one atomic load. Any thread may call.

namespace troupe {

// What happens when the failpoint is reached: an error that it returns, or the end of the process.
using FailAction = std::function<Status()>;

// Ok, unless the failpoint ROOM.CALL.POINT is armed.
Status failpoint(std::string_view room, std::string_view call, std::string_view point);
// Arms it: the `nth` time (1: the next) it is reached, and every time after, `action` runs.
void arm_failpoint(std::string name, int nth, FailAction action);
void disarm_failpoints();
// "NAME:NTH" ends the process with SIGKILL when NAME is reached for the NTH time.
//   Errors: kInvalidArgument if the text is not of this form.
Status arm_failpoint_from(const std::string& text);
// Does so with the variable TROUPE_FAILPOINT, for tests of the command; without it, nothing.
//   Errors: those of arm_failpoint_from.
Status arm_failpoint_from_environment();

}  // namespace troupe
