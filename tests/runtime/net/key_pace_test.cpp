#include <catch2/catch.hpp>

#include <troupe/runtime/net/allow_list.h>
#include <troupe/runtime/net/key_pace.h>

using namespace troupe::net;

namespace {

std::size_t admitted(KeyPace& pace, const PublicKey& key, Role role, std::int64_t now_us) {
  std::size_t count = 0;
  while (pace.admit(key, pace_of(role), now_us)) ++count;
  return count;
}

}  // namespace

TEST_CASE("key pace: a burst at once, then so many a second", "[key-pace]") {
  KeyPace pace;
  const PublicKey one{1}, other{2};
  CHECK(admitted(pace, one, Role::kNode, 0) == 64);
  CHECK(admitted(pace, one, Role::kNode, 999'999) == 0);
  CHECK(admitted(pace, one, Role::kNode, 3'000'000) == 3);
  // Another key is not affected, and three hundred commands with one door key may start at once.
  CHECK(admitted(pace, other, Role::kEnrol, 3'000'000) >= 300);
  // The bucket is full again after a rest, and never fuller.
  CHECK(admitted(pace, one, Role::kNode, 1'000'000'000'000) == 64);
  // A clock that steps back gives nothing.
  CHECK(admitted(pace, one, Role::kNode, 0) == 0);
}

TEST_CASE("key pace: the daemon's own user may call commands in a loop", "[key-pace]") {
  KeyPace pace;
  AllowList allowed;
  const PublicKey own{1}, token{2};
  allowed.allow(own, Role::kEnrol);
  allowed.allow(token, Role::kEnrol);
  allowed.set_own_door(own);
  // Three hundred commands start every three seconds, twenty times, as fast as they come.
  for (std::int64_t crowd = 0; crowd < 20; ++crowd)
    for (int i = 0; i < 300; ++i)
      REQUIRE(pace.admit(own, allowed.pace(own, Role::kEnrol), crowd * 3'000'000));
  CHECK(admitted(pace, token, Role::kEnrol, 60'000'000) == 400);
}

TEST_CASE("key pace: keys at rest are forgotten", "[key-pace]") {
  KeyPace pace;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    PublicKey key{};
    for (std::size_t j = 0; j < 4; ++j) key[j] = static_cast<std::uint8_t>(i >> (8 * j));
    REQUIRE(pace.admit(key, kMemberPace, std::int64_t{i} * 10'000));
    REQUIRE(pace.size() <= 1024);
  }
}
