#include <catch2/catch.hpp>

#include <troupe/runtime/net/key_proof.h>

using namespace troupe::net;

TEST_CASE("key proof: only the owner of a key proves it, to one verifier, for one statement") {
  const KeyPair owner = make_key_pair(), thief = make_key_pair(), verifier = make_key_pair();
  const std::vector<std::uint8_t> statement(90, 7), other(90, 8);
  const auto proof = prove_key(owner, verifier.public_key, statement);
  CHECK(proves_key(owner.public_key, verifier, statement, proof));
  CHECK_FALSE(proves_key(owner.public_key, verifier, other, proof));
  CHECK_FALSE(proves_key(owner.public_key, thief, statement, proof));
  CHECK_FALSE(proves_key(thief.public_key, verifier, statement, proof));
  // A thief knows only the public half.
  const KeyPair claimed{owner.public_key, thief.secret_key};
  CHECK_FALSE(proves_key(owner.public_key, verifier, statement,
                         prove_key(claimed, verifier.public_key, statement)));
  for (std::size_t i = 0; i < proof.size(); ++i) {
    auto flipped = proof;
    flipped[i] ^= 1;
    REQUIRE_FALSE(proves_key(owner.public_key, verifier, statement, flipped));
    REQUIRE_FALSE(proves_key(owner.public_key, verifier, statement, {proof.data(), i}));
  }
}
