#include <memory>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/tools/troupe/daemon/free_ports.h>

namespace troupe::tools {
namespace {

constexpr int kTries = 100;

// Returns a socket that listens at the port, or -1.
int listen_at(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return -1;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, ::freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int one = 1;  // as the daemon will: a port whose last connection just ended is free
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(fd, found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd, 1) == 0) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

std::optional<std::uint16_t> first_free_ports(const std::string& host, std::uint16_t from,
                                              int count) {
  for (int i = 0; i < kTries; ++i) {
    const int first = from + i * count;
    if (first + count - 1 > UINT16_MAX) break;
    std::vector<int> held;  // all at once, so that the row is free as a whole
    for (int port = first; port < first + count; ++port) {
      const int fd = listen_at(host, port);
      if (fd < 0) break;
      held.push_back(fd);
    }
    for (const int fd : held) ::close(fd);
    if (held.size() == static_cast<std::size_t>(count)) return static_cast<std::uint16_t>(first);
  }
  return std::nullopt;
}

}  // namespace troupe::tools
