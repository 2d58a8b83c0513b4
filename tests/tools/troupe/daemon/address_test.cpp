#include <string>
#include <vector>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/tools/troupe/daemon/address_watch.h>
#include <troupe/tools/troupe/daemon/free_ports.h>
#include <troupe/tools/troupe/daemon/join_source.h>
#include <troupe/tools/troupe/daemon/own_address.h>

namespace troupe::tools {
namespace {

// A listener on loopback while the object exists; the kernel chooses its port.
struct Taken {
  Taken() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd, 1) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port = ntohs(address.sin_port);
  }
  ~Taken() { ::close(fd); }
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port = 0;
};

}  // namespace

TEST_CASE("address: whether this machine has it") {
  for (const char* here : {"127.0.0.1", "0.0.0.0", "::", "a.name.example"})
    CHECK(has_address(here));
  for (const char* elsewhere : {"192.0.2.7", "2001:db8::7"}) CHECK_FALSE(has_address(elsewhere));
  CHECK(is_only_here("127.0.1.1"));
  CHECK(is_only_here("localhost"));
  CHECK_FALSE(is_only_here("192.0.2.7"));
}

TEST_CASE("address: a node stays if its address is there, or if no other one leads to its head") {
  AddressWatch stays("127.0.0.1", {"192.0.2.1", 7700});
  for (int i = 0; i < 4; ++i) CHECK_FALSE(stays.moved());
  // Only loopback leads to a head on this machine, so there is nowhere to move.
  AddressWatch lost("192.0.2.7", {"127.0.0.1", 7700});
  for (int i = 0; i < 4; ++i) CHECK_FALSE(lost.moved());
}

TEST_CASE("ports: a row with a port that is taken is passed over") {
  const Taken taken;
  const auto from = static_cast<std::uint16_t>(taken.port - 1);
  const auto found = first_free_ports("127.0.0.1", from, 3);
  REQUIRE(found);
  CHECK(*found > taken.port);
  CHECK((*found - from) % 3 == 0);
  CHECK_FALSE(first_free_ports("192.0.2.7", 7700, 3));  // this is no address of this machine
  CHECK_FALSE(first_free_ports("127.0.0.1", 65534, 3));
}

TEST_CASE("tokens: they are overwritten where ps would show them, and nothing else is") {
  std::vector<std::string> words = {
      "troupe", "start",  "--join", "trp-abc@host:1", "--cluster=t@h:2", "--cluster",
      "h:3",    "--name", "a@b"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  hide_tokens(static_cast<int>(argv.size()), argv.data());
  CHECK(words[3] == "*******@host:1");
  CHECK(words[4] == "--cluster=*@h:2");
  CHECK(words[6] == "h:3");
  CHECK(words[8] == "a@b");
}

}  // namespace troupe::tools
