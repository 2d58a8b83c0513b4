#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <troupe/runtime/net/keys.h>

// Proof of possession: whoever says that a key is its own shows that it has the secret half. Pure.

namespace troupe::net {

// The statement in a crypto_box from the prover to the verifier: nonce (24), tag (16), statement.
// Only the two of them can have made it, and the verifier knows that it did not.
std::vector<std::uint8_t> prove_key(const KeyPair& own, const PublicKey& verifier,
                                    std::span<const std::uint8_t> statement);
// Whether `proof` was made for this verifier by the owner of `key`, and says exactly `statement`.
bool proves_key(const PublicKey& key, const KeyPair& verifier,
                std::span<const std::uint8_t> statement, std::span<const std::uint8_t> proof);

}  // namespace troupe::net
