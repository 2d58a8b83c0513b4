#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <troupe/runtime/net/keys.h>

// Proof of possession: a process that claims a key shows that it has the secret half. Pure.

namespace troupe::net {

// Makes a proof: the statement in a crypto_box from the prover to the verifier, as nonce (24), tag
// (16) and statement. Only the prover or the verifier could have made it, and the verifier knows
// that it was not itself.
std::vector<std::uint8_t> prove_key(const KeyPair& own, const PublicKey& verifier,
                                    std::span<const std::uint8_t> statement);
// Checks that `proof` was made for this verifier by the owner of `key`, and contains exactly
// `statement`.
bool proves_key(const PublicKey& key, const KeyPair& verifier,
                std::span<const std::uint8_t> statement, std::span<const std::uint8_t> proof);

}  // namespace troupe::net
