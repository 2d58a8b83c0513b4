#include <catch2/catch.hpp>

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
  // Another key does not notice, and three hundred commands of one door key start at once.
  CHECK(admitted(pace, other, Role::kEnrol, 3'000'000) >= 300);
  // The bucket is full again after a rest, and never fuller.
  CHECK(admitted(pace, one, Role::kNode, 1'000'000'000'000) == 64);
  // A clock that steps back gives nothing.
  CHECK(admitted(pace, one, Role::kNode, 0) == 0);
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
