#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/status.h>

// A daemon that leaves its terminal. The process forks, the child continues in a session of its own
// with HOME/log for stdout and stderr, and the parent ends when the child has reported that it is
// ready, or why it is not. Main thread, before any other thread exists.

namespace troupe::tools {

class Background {
 public:
  // Forks. In the parent, `parent_status` is the exit status for the process, and what the child
  // reported has been printed. In the child, `parent_status` is absent. (The child becomes the
  // daemon, or the daemon's parent: parent.h.) `home` is absolute and exists.
  //   Errors: kUnavailable (no fork), kPermissionDenied (the log cannot be opened).
  static Result<Background> detach(const std::string& home);
  Background(Background&& other) noexcept;
  Background& operator=(Background&&) = delete;
  ~Background();

  const std::optional<int>& parent_status() const { return parent_status_; }
  // Called once by the child, with what the parent must print on stdout and on stderr, and its exit
  // status. Returns false if the parent is gone, which means that the program that started us has
  // given up.
  bool report(const std::string& out, const std::string& err, int status);
  // Called by a process that has left the report to a child of its own: report() then says nothing.
  void leave_report() noexcept;

 private:
  Background() = default;
  std::optional<int> parent_status_;
  int pipe_ = -1;
};

// Returns the log of a daemon in the background.
std::string log_file(const std::string& home);
// Opens the log anew, in the process of detach(), because a program that rotates logs has moved it
// away. Says so in the new log. Async-signal-safe. If the new log cannot be opened, the old one is
// kept.
void reopen_log() noexcept;
// Continues in the file that now has the log's name, if another process has moved the log away.
// Does nothing if this process has no log file.
void follow_log() noexcept;
// True in the process of detach(), whose log is log_file().
bool has_log_file() noexcept;
// If the log has grown beyond 16 MiB, appends ".1" to its name, replacing an older file of that
// name, and opens a new log. Called from time to time in the process of detach().
void limit_log() noexcept;

}  // namespace troupe::tools
