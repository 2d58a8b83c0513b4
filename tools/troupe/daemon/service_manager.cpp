#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <troupe/runtime/log.h>
#include <troupe/tools/troupe/daemon/service_manager.h>

namespace troupe::tools {
namespace {

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : "";
}

}  // namespace

ServiceManager::ServiceManager() : socket_(variable("NOTIFY_SOCKET")) {
  const std::string pid = variable("WATCHDOG_PID");
  if (socket_.empty() || (!pid.empty() && pid != std::to_string(::getpid()))) return;
  const long long usec = std::atoll(variable("WATCHDOG_USEC").c_str());
  if (usec > 0) watchdog_ms_ = static_cast<int>(std::clamp(usec / 2000, 1LL, 3'600'000LL));
}

void ServiceManager::notify(const std::string& lines) {
  if (socket_.empty()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto complain = [&](const char* why) {
    if (!complained_) {
      log(LogLevel::kWarning,
          "cannot tell the service manager at NOTIFY_SOCKET=" + socket_ + ": " + why);
    }
    complained_ = true;
  };
  if (socket_.size() >= sizeof address.sun_path || (socket_[0] != '/' && socket_[0] != '@')) {
    return complain("it is neither a path nor an abstract name");
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return complain(std::strerror(errno));
  if (::sendto(fd, lines.data(), lines.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    complain(std::strerror(errno));
  }
  ::close(fd);
}

bool goes_to_journal(int descriptor) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return false;
  return variable("JOURNAL_STREAM") ==
         std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

}  // namespace troupe::tools
