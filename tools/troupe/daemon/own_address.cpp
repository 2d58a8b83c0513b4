#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/tools/troupe/daemon/own_address.h>

namespace troupe::tools {
namespace {

bool is_loopback(const std::string& address) {
  return address.rfind("127.", 0) == 0 || address == "::1";
}

// Returns addresses as text, without a look-up of names.
std::string numeric(const sockaddr* address, socklen_t length) {
  char host[NI_MAXHOST];
  const int failed = ::getnameinfo(address, length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return failed == 0 ? host : "";
}

}  // namespace

std::optional<std::string> own_address_towards(const net::Endpoint& peer) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(peer.port);
  if (::getaddrinfo(peer.host.c_str(), port.c_str(), &hints, &found) != 0) return std::nullopt;
  std::optional<std::string> address;
  // Connecting a datagram socket sends nothing; it only chooses the route.
  for (addrinfo* at = found; at != nullptr && !address; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    if (::connect(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0) {
      const std::string host = numeric(reinterpret_cast<sockaddr*>(&own), length);
      if (!host.empty()) address = host;
    }
    ::close(fd);
  }
  ::freeaddrinfo(found);
  if (address && is_loopback(*address)) return std::nullopt;
  return address;
}

bool is_only_here(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return is_loopback(host);
  bool only = true;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next)
    only = only && is_loopback(numeric(at->ai_addr, at->ai_addrlen));
  ::freeaddrinfo(found);
  return only;
}

std::string own_address(const std::string& host) {
  if (!host.empty()) {
    if (const auto address = own_address_towards({host, 9})) return *address;
  }
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0') {
    if (const auto address = own_address_towards({name, 9})) return *address;
  }
  return "127.0.0.1";
}

}  // namespace troupe::tools
