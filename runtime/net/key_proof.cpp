#include <algorithm>

#include <sodium.h>

#include <troupe/runtime/net/key_proof.h>

namespace troupe::net {
namespace {

constexpr std::size_t kOverheadBytes = crypto_box_NONCEBYTES + crypto_box_MACBYTES;

}  // namespace

std::vector<std::uint8_t> prove_key(const KeyPair& own, const PublicKey& verifier,
                                    std::span<const std::uint8_t> statement) {
  (void)random_u64();  // makes libsodium ready
  std::vector<std::uint8_t> proof(kOverheadBytes + statement.size());
  randombytes_buf(proof.data(), crypto_box_NONCEBYTES);
  const int made =
      crypto_box_easy(proof.data() + crypto_box_NONCEBYTES, statement.data(), statement.size(),
                      proof.data(), verifier.data(), own.secret_key.data());
  // If the verifier's key is not a point of the curve, there is no proof.
  if (made != 0) proof.clear();
  return proof;
}

bool proves_key(const PublicKey& key, const KeyPair& verifier,
                std::span<const std::uint8_t> statement, std::span<const std::uint8_t> proof) {
  if (proof.size() != kOverheadBytes + statement.size()) return false;
  std::vector<std::uint8_t> said(statement.size());
  const int opened = crypto_box_open_easy(said.data(), proof.data() + crypto_box_NONCEBYTES,
                                          proof.size() - crypto_box_NONCEBYTES, proof.data(),
                                          key.data(), verifier.secret_key.data());
  return opened == 0 && std::equal(said.begin(), said.end(), statement.begin(), statement.end());
}

}  // namespace troupe::net
