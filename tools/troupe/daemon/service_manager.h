#pragma once

#include <optional>
#include <string>

// What a daemon tells systemd about itself (sd_notify(3)): a datagram to the socket that
// NOTIFY_SOCKET names, in the file system or abstract. Does nothing where there is no such socket.

namespace troupe::tools {

class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
  ServiceManager();
  // Lines of NAME=VALUE: "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...". A socket that takes
  // nothing is logged once.
  void notify(const std::string& lines);
  // How often the watchdog wants to hear of us: half of what it waits for. Absent: not at all.
  const std::optional<int>& watchdog_ms() const { return watchdog_ms_; }

 private:
  std::string socket_;
  std::optional<int> watchdog_ms_;
  bool complained_ = false;
};

}  // namespace troupe::tools
