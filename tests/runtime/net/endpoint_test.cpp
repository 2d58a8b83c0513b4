#include <catch2/catch.hpp>

#include <troupe/runtime/net/transport.h>

using namespace troupe;
using namespace troupe::net;

TEST_CASE("endpoint: names and addresses", "[endpoint]") {
  for (const std::string text :
       {"127.0.0.1:7700", "[::1]:7700", "host-1.example:1", "[fe80::1%eth0]:65535"}) {
    const auto endpoint = parse_endpoint(text);
    INFO(text);
    REQUIRE(endpoint.is_ok());
    CHECK(to_string(*endpoint) == text);
  }
  CHECK(parse_endpoint("[::1]:7700")->host == "::1");
  CHECK(parse_endpoint("host:7700")->port == 7700);
}

TEST_CASE("endpoint: what is wrong is said", "[endpoint]") {
  const std::pair<std::string, std::string> cases[] = {{"", "port is missing"},
                                                       {"host", "port is missing"},
                                                       {":7700", "host is missing"},
                                                       {"host:", "number"},
                                                       {"host:0", "number"},
                                                       {"host:65536", "number"},
                                                       {"host:77x", "number"},
                                                       {"host:-1", "number"},
                                                       {"::1:7700", "brackets"},
                                                       {"[::1:7700", "not closed"},
                                                       {"[::1]7700", "port is missing"},
                                                       {"[host]:7700", "IPv6"},
                                                       {"ho st:7700", "character"},
                                                       {"a/b:7700", "character"},
                                                       {std::string(300, 'a') + ":1", "too long"}};
  for (const auto& [text, part] : cases) {
    const auto result = parse_endpoint(text);
    INFO(text);
    REQUIRE(result.code() == Code::kInvalidArgument);
    CHECK(result.message().find(part) != std::string::npos);
  }
}
