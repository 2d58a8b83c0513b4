#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/actors/troupe.h>
#include <troupe/tests/actors/temporary_home.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

using namespace troupe;

namespace {

// Hides the keys that heads leave for their user's clients on this machine.
struct OtherUser {
  OtherUser() {
    if (const char* folder = std::getenv("XDG_RUNTIME_DIR")) before = folder;
    ::setenv("XDG_RUNTIME_DIR", empty.path.c_str(), 1);
  }
  ~OtherUser() {
    if (before.empty()) {
      ::unsetenv("XDG_RUNTIME_DIR");
    } else {
      ::setenv("XDG_RUNTIME_DIR", before.c_str(), 1);
    }
  }
  TemporaryHome empty;
  std::string before;
};

// Starts a daemon of this program on a free port.
template <class Start>
Result<Cluster> on_free_port(DaemonOptions options, Start start) {
  for (;;) {
    options.listen = net::test::free_endpoint();
    auto cluster = start(options);
    if (cluster || cluster.code() != Code::kAlreadyExists) return cluster;
  }
}

}  // namespace

TEST_CASE("cluster: a head's own program is a client of it", "[membership]") {
  TemporaryHome home;
  DaemonOptions options;
  options.home = home.path;
  const auto head = on_free_port(options, Cluster::start);
  INFO(head.message());
  REQUIRE(head);
}

TEST_CASE("cluster: the program of a node is a client if a client's token let it in once",
          "[membership]") {
  TemporaryHome head_home, home;
  DaemonOptions options;
  options.home = head_home.path;
  options.work = false;
  auto head = on_free_port(options, Cluster::start);
  INFO(head.message());
  REQUIRE(head);
  const auto user = head->new_token({"user", 1, 0});
  REQUIRE(user);

  const OtherUser hidden;
  DaemonOptions node;
  node.home = home.path;
  node.join = head->join_address();
  {
    auto joined = on_free_port(node, Cluster::join);
    INFO(joined.message());
    REQUIRE(joined);
    const auto map = [](const std::string& shard, const JobContext&) {
      return Result<std::string>(shard);
    };
    const auto merge = [](const std::string& left, const std::string& right) {
      return Result<std::string>(left + right);
    };
    CHECK(joined->register_job("count", map, merge));
    const auto status = joined->status();
    CHECK(status.code() == Code::kPermissionDenied);
    CHECK(status.message().find("troupe key new --role user") != std::string::npos);
    CHECK(joined->jobs().code() == Code::kPermissionDenied);
    CHECK(joined->keys().code() == Code::kPermissionDenied);
    CHECK(joined->stop(true).code() == Code::kPermissionDenied);
  }
  REQUIRE(Cluster::connect({home.path, user->token, 5000}));  // enrols the home's identity
  auto again = on_free_port(node, Cluster::join);
  INFO(again.message());
  REQUIRE(again);
  CHECK(again->status());
  CHECK(again->jobs());
  CHECK(again->keys().code() == Code::kPermissionDenied);  // a user is not an admin
}
