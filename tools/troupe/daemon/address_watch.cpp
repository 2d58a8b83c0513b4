#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <troupe/tools/troupe/daemon/address_watch.h>
#include <troupe/tools/troupe/daemon/own_address.h>

namespace troupe::tools {
namespace {

constexpr int kMissesToMove = 2;

// Returns the bytes of a numeric address; empty if it is a name.
std::string bytes_of(const std::string& host) {
  std::array<char, sizeof(in6_addr)> bytes{};
  const std::string numeric = host.substr(0, host.find('%'));  // without an interface's name
  if (::inet_pton(AF_INET, numeric.c_str(), bytes.data()) == 1)
    return {bytes.data(), sizeof(in_addr)};
  if (::inet_pton(AF_INET6, numeric.c_str(), bytes.data()) == 1)
    return {bytes.data(), sizeof(in6_addr)};
  return "";
}

std::string bytes_of(const sockaddr* address) {
  if (address == nullptr) return "";
  if (address->sa_family == AF_INET) {
    const auto& in = *reinterpret_cast<const sockaddr_in*>(address);
    return {reinterpret_cast<const char*>(&in.sin_addr), sizeof in.sin_addr};
  }
  if (address->sa_family == AF_INET6) {
    const auto& in = *reinterpret_cast<const sockaddr_in6*>(address);
    return {reinterpret_cast<const char*>(&in.sin6_addr), sizeof in.sin6_addr};
  }
  return "";
}

}  // namespace

bool has_address(const std::string& host) {
  const std::string wanted = bytes_of(host);
  if (wanted.find_first_not_of('\0') == std::string::npos)
    return true;  // a name, or the wildcard address
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return true;  // the system does not say
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, ::freeifaddrs);
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next)
    if (bytes_of(at->ifa_addr) == wanted) return true;
  return false;
}

AddressWatch::AddressWatch(std::string own, net::Endpoint head)
    : own_(std::move(own)), head_(std::move(head)) {}

std::optional<std::string> AddressWatch::moved() {
  missed_ = has_address(own_) ? 0 : missed_ + 1;
  if (missed_ < kMissesToMove) return std::nullopt;
  auto now = own_address_towards(head_);
  if (now) own_ = *now;
  return now;
}

}  // namespace troupe::tools
