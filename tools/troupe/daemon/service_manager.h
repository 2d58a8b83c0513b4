#pragma once

#include <optional>
#include <string>

// Reports a daemon's state to systemd (sd_notify(3)) with a datagram to the socket that
// NOTIFY_SOCKET names, in the file system or abstract. Does nothing if there is no such socket.

namespace troupe::tools {

class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
  ServiceManager();
  // Sends lines of NAME=VALUE: "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...". If the socket
  // takes nothing, that is logged once.
  void notify(const std::string& lines);
  // Returns the interval at which the watchdog must hear from us: half of its timeout. Absent if
  // there is no watchdog.
  const std::optional<int>& watchdog_ms() const { return watchdog_ms_; }

 private:
  std::string socket_;
  std::optional<int> watchdog_ms_;
  bool complained_ = false;
};

// True if text written to the descriptor goes into systemd's journal (JOURNAL_STREAM), which other
// users may read.
bool goes_to_journal(int descriptor);

}  // namespace troupe::tools
