#pragma once

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/runtime/net/keys.h>

// A second process for a test: this test program again, with one hidden test case that reads its
// orders from the environment. The parent kills it.

namespace troupe::net::test {

inline KeyPair child_identity(const std::string& seed) {
  std::array<std::uint8_t, 32> bytes{};
  std::copy_n(seed.begin(), std::min<std::size_t>(seed.size(), 32), bytes.begin());
  return key_pair_from_seed(bytes);
}

// Returns a seed that no other run of the tests uses.
inline std::string fresh_seed() { return "child " + std::to_string(random_u64()); }

struct ChildOrders {
  PublicKey server{};
  std::uint16_t port = 0;
  KeyPair identity;

  static std::optional<ChildOrders> read() {
    const char* server = std::getenv("TROUPE_CHILD_SERVER");
    const char* port = std::getenv("TROUPE_CHILD_PORT");
    const char* seed = std::getenv("TROUPE_CHILD_SEED");
    if (server == nullptr || port == nullptr || seed == nullptr) return std::nullopt;
    const auto key = key_from_z85(server);
    if (!key) return std::nullopt;
    return ChildOrders{*key, static_cast<std::uint16_t>(std::atoi(port)), child_identity(seed)};
  }
};

// Starts a child, whose standard output is discarded. `server` and `port` belong to the parent.
inline pid_t start_child(const std::string& test, const PublicKey& server, std::uint16_t port,
                         const std::string& seed) {
  const std::string server_text = to_z85(server), port_text = std::to_string(port);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::setenv("TROUPE_CHILD_SERVER", server_text.c_str(), 1);
  ::setenv("TROUPE_CHILD_PORT", port_text.c_str(), 1);
  ::setenv("TROUPE_CHILD_SEED", seed.c_str(), 1);
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(null, STDOUT_FILENO);
  ::execl("/proc/self/exe", "runtime_tests", test.c_str(), nullptr);
  ::_exit(127);
}

// Kills the child. Returns true if it had lived until then.
inline bool end_child(pid_t pid) {
  int status = 0;
  const bool alive = ::waitpid(pid, &status, WNOHANG) == 0;
  if (!alive) return false;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return true;
}

}  // namespace troupe::net::test
