#include <algorithm>
#include <system_error>
#include <thread>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <troupe/runtime/net/zmq/resolver.h>

namespace troupe::net::zmq {
namespace {

bool is_literal(const std::string& host) {
  in_addr address4{};
  // With or without brackets, only IPv6 addresses contain a colon (and may have a scope,
  // fe80::1%eth0).
  return ::inet_pton(AF_INET, host.c_str(), &address4) == 1 || host.find(':') != std::string::npos;
}

}  // namespace

Resolution& resolve_now(const std::string& host, Resolution& into) {
  if (is_literal(host)) {
    into.addresses = {host};
  } else {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int rc = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (rc != 0) into.error = ::gai_strerror(rc);
    for (const addrinfo* it = list; it != nullptr; it = it->ai_next) {
      char text[NI_MAXHOST];
      if (::getnameinfo(it->ai_addr, it->ai_addrlen, text, sizeof text, nullptr, 0,
                        NI_NUMERICHOST) != 0) {
        continue;
      }
      if (std::find(into.addresses.begin(), into.addresses.end(), text) == into.addresses.end()) {
        into.addresses.emplace_back(text);
      }
    }
    if (list != nullptr) ::freeaddrinfo(list);
    std::stable_partition(into.addresses.begin(), into.addresses.end(),
                          [](const std::string& a) { return a.find(':') == std::string::npos; });
  }
  into.done = true;
  return into;
}

std::shared_ptr<Resolution> resolve(const std::string& host, std::shared_ptr<const WakeUp> wake) {
  auto resolution = std::make_shared<Resolution>();
  if (is_literal(host)) {
    resolve_now(host, *resolution);
    return resolution;
  }
  try {
    // The thread is detached: the system's resolver cannot be interrupted, and nobody waits for it
    // at the end.
    std::thread([host, resolution, wake = std::move(wake)] {
      resolve_now(host, *resolution);
      wake->signal();
    }).detach();
  } catch (const std::system_error& error) {
    resolution->error = error.what();
    resolution->done = true;
  }
  return resolution;
}

}  // namespace troupe::net::zmq
