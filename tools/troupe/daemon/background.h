#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/status.h>

// A daemon that leaves its terminal: the process forks, the child goes on in a session of its own
// with HOME/log for stdout and stderr, and the parent ends when the child has said that it is ready
// or why it is not. Main thread, before any other thread exists.

namespace troupe::tools {

class Background {
 public:
  // Forks. In the parent `parent_status` is set: what the process is to end with; what the child
  // had to say has been printed. In the child it is absent. `home` is absolute and exists.
  //   Errors: kUnavailable (no fork), kPermissionDenied (the log cannot be opened).
  static Result<Background> detach(const std::string& home);
  Background(Background&& other) noexcept;
  Background& operator=(Background&&) = delete;
  ~Background();

  const std::optional<int>& parent_status() const { return parent_status_; }
  // Child: what the parent prints on stdout and on stderr, and the exit status; once. False when
  // the parent is gone: whoever started us has given up.
  bool report(const std::string& out, const std::string& err, int status);

 private:
  Background() = default;
  std::optional<int> parent_status_;
  int pipe_ = -1;
};

// The log of a daemon in the background.
std::string log_file(const std::string& home);
// Opens it anew, as the process of detach() in the background: what rotates logs has moved it away.
// Says so in the new one. Async-signal-safe. If it cannot be opened, the old one goes on.
void reopen_log() noexcept;

}  // namespace troupe::tools
