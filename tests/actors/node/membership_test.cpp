#include <filesystem>
#include <regex>

#include <catch2/catch.hpp>
#include <stdlib.h>

#include <troupe/actors/node/membership.h>
#include <troupe/runtime/file.h>
#include <troupe/tests/actors/temporary_home.h>

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("membership: what was saved is found, a broken file is named") {
  TemporaryHome home;
  auto none = load_membership(home.path);
  REQUIRE(none);
  CHECK_FALSE(none->has_value());
  Membership member{5, "calm-opera", net::make_key_pair().public_key, "10.0.0.1", 7700};
  REQUIRE(save_membership(home.path, member).is_ok());
  auto found = load_membership(home.path);
  REQUIRE(found);
  REQUIRE(found->has_value());
  CHECK((*found)->head == member.head);
  CHECK((*found)->head_port == 7700);
  const std::string kept = *read_file(home.path / "member.json", 4096);
  const std::string wrapped = std::regex_replace(kept, std::regex("7700"), "99999");
  REQUIRE(write_file_atomically(home.path / "member.json", wrapped, 0600).is_ok());
  const auto wrong = load_membership(home.path);
  CHECK(wrong.code() == Code::kBadData);
  CHECK(wrong.message().find("head_port") != std::string::npos);
  const std::string deep = "{\"cluster\":" + std::string(300'000, '[');
  REQUIRE(write_file_atomically(home.path / "member.json", deep, 0600).is_ok());
  CHECK_FALSE(load_membership(home.path).is_ok());
}
