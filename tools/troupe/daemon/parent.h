#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include <sys/types.h>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/daemon/background.h>

// A daemon's parent process, which starts it again if it aborts: `troupe start` forks, the child is
// the daemon, and the parent only waits, passes on signals and counts. It is forked before any
// other thread exists. If systemd is the parent, there is no other one.

namespace troupe::tools {

// Decides whether an aborted daemon may be started again, and how long to wait first. Pure.
class RestartBudget {
 public:
  using Clock = std::chrono::steady_clock;
  // The number of crashes within a minute after which the parent gives up.
  static constexpr int kCrashesMax = 5;
  static constexpr std::chrono::seconds kWithin{60};

  // Records a crash. Returns the pause before the next start, which is less than a second, or
  // nothing if it was one too many.
  std::optional<std::chrono::milliseconds> crashed(Clock::time_point now);

 private:
  std::array<std::optional<Clock::time_point>, kCrashesMax> crashes_;  // the last ones, a ring
  std::size_t next_ = 0;
};

// True if systemd started this process as a service, and so starts it again itself
// (NOTIFY_SOCKET, or INVOCATION_ID without a SYSTEMD_EXEC_PID that names another process).
bool has_service_manager();

// True for the signals after which a daemon is started again: SIGABRT, SIGSEGV, SIGBUS. SIGKILL is
// not one of them, because people and the system use it to end a process that must not come back.
bool is_crash(int signal);

// The result of adopt() for each process.
struct Adopted {
  // In the parent, the exit status for the process, once the daemon has ended for good. If the
  // daemon was ended by a signal, the parent ends by the same one and never returns. Absent in the
  // daemon.
  std::optional<int> parent_status;
  // True in a daemon that replaces one that aborted.
  bool again = false;
};

// Forks the daemon, and stays its parent. A daemon that aborts before it said that it is ready is
// not started again, because the command failed. Every SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1
// and SIGUSR2 is passed on; SIGTSTP and SIGCONT stop and continue both. A daemon dies with its
// parent. Main thread, before any other thread exists. `background`: the daemon's, if it has one.
//   Errors: kUnavailable (no fork).
Result<Adopted> adopt(std::optional<Background>& background);

// Called by the daemon when it is ready, and when it begins to stop. The two calls do nothing in a
// process without such a parent.
void tell_parent_ready() noexcept;
void tell_parent_stopping() noexcept;

}  // namespace troupe::tools
