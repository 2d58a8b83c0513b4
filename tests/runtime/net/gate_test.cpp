#include <array>
#include <cstddef>
#include <span>

#include <catch2/catch.hpp>

#include <troupe/runtime/net/gate.h>
#include <troupe/runtime/wire/frame.h>

namespace troupe::net {
namespace {

class GateOfOne {
 public:
  // Returns true if a frame of the peer with this sequence number is accepted.
  bool takes(const PublicKey& peer, std::uint64_t sequence) {
    wire::Header header;
    header.type = 9;
    header.cluster = 77;
    header.incarnation = 5;
    header.sequence = sequence;
    const auto sealed = wire::seal(header, {}, {});
    const RawFrame raw{1, std::span<const std::byte>(sealed), {}, {}};
    Status other_version;
    return gate.admit({peer, Channel::kControl, std::nullopt, 0}, raw, &other_version).has_value();
  }
  AllowList allowed;
  AtomicCounters counters;
  Gate gate{allowed, counters, wire::kProtocolVersion};
};

PublicKey key_of(std::size_t number) {
  PublicKey key{};
  key[0] = static_cast<std::uint8_t>(number);
  key[1] = static_cast<std::uint8_t>(number >> 8);
  key[2] = 1;
  return key;
}

}  // namespace

TEST_CASE("gate: a frame is taken once, even if its key was revoked and allowed again") {
  GateOfOne one;
  one.gate.set_cluster(77);
  const PublicKey peer = key_of(1);
  one.allowed.allow(peer, Role::kNode);
  CHECK(one.takes(peer, 1));
  CHECK(one.takes(peer, 3));
  CHECK_FALSE(one.takes(peer, 3));
  one.allowed.revoke(peer);
  one.gate.forget(peer);
  CHECK_FALSE(one.takes(peer, 4));
  one.allowed.allow(peer, Role::kNode);
  CHECK_FALSE(one.takes(peer, 1));
  CHECK_FALSE(one.takes(peer, 3));
  CHECK(one.takes(peer, 2));  // the frame is late, but was not taken before
  CHECK(one.takes(peer, 4));
}

TEST_CASE("gate: what is kept of revoked keys is bounded, and a key in use keeps its own") {
  GateOfOne one;
  one.gate.set_cluster(77);
  const PublicKey first = key_of(0), used = key_of(1);
  for (const PublicKey& key : {first, used}) {
    one.allowed.allow(key, Role::kNode);
    REQUIRE(one.takes(key, 1));
    one.allowed.revoke(key);
    one.gate.forget(key);
  }
  one.allowed.allow(used, Role::kNode);
  one.allowed.revoke(used);
  one.gate.forget(used);
  one.allowed.allow(used, Role::kNode);
  for (std::size_t i = 2; i < 1026; ++i) {
    one.allowed.allow(key_of(i), Role::kNode);
    REQUIRE(one.takes(key_of(i), 1));
    one.allowed.revoke(key_of(i));
    one.gate.forget(key_of(i));
  }
  CHECK_FALSE(one.takes(used, 1));
  one.allowed.allow(first, Role::kNode);
  CHECK(one.takes(first, 1));  // a thousand keys later, nothing is known about the first one
}

}  // namespace troupe::net
