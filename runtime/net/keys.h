#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <troupe/runtime/status.h>

// Identities: CURVE key pairs, their files (0600), and the enrolment token. Pure, except for the
// files.

namespace troupe::net {

using PublicKey = std::array<std::uint8_t, 32>;
using SecretKey = std::array<std::uint8_t, 32>;
struct KeyHash {
  std::size_t operator()(const PublicKey& key) const;
};

struct KeyPair {
  PublicKey public_key{};
  SecretKey secret_key{};
};

// kClient is a user. actors/messages/rights.h says what servers, operators and admins may do beyond
// that. kEnrol is a door key: that of a token, or a client's identity. It can only enrol.
enum class Role : std::uint8_t {
  kHead = 0,
  kNode = 1,
  kClient = 2,
  kEnrol = 3,
  kServer = 4,
  kOperator = 5,
  kAdmin = 6,
};
const char* role_name(Role role);
constexpr bool is_client(Role role) {
  return role == Role::kClient || role == Role::kServer || role == Role::kOperator ||
         role == Role::kAdmin;
}
// Returns the role with this name, if a token may be for it: node, user (or client), server,
// operator, admin.
std::optional<Role> token_role(const std::string& name);

KeyPair make_key_pair();  // random
KeyPair key_pair_from_seed(const std::array<std::uint8_t, 32>& seed);
std::string to_z85(const PublicKey& key);  // 40 characters
Result<PublicKey> key_from_z85(const std::string& text);
// Returns the 8 hexadecimal digits that name a key to people.
std::string key_id(const PublicKey& key);
std::uint64_t random_u64();  // never 0

// Reads the key pair at `path`, or makes and stores one (0600).
//   Errors: kPermissionDenied (others can read the file; the text says how to correct its mode).
Result<KeyPair> load_or_make_key_pair(const std::filesystem::path& path);
Result<KeyPair> load_key_pair(const std::filesystem::path& path);

// What a machine needs to join: "trp-" and the base32 (lower case, no padding, no confusing
// characters) of cluster id (8), head's public key (32), enrolment seed (16) and a checksum (4).
// The key pair that enrols is derived from the seed, so that the secret itself never travels; the
// head's allow-list holds its public half in the role kEnrol, which can only enrol.
struct Token {
  std::uint64_t cluster = 0;
  PublicKey head{};
  std::array<std::uint8_t, 16> seed{};
};
std::string to_text(const Token& token);
// Reads a token.
//   Errors: kInvalidArgument (mistyped, as the checksum shows, or of another kind).
Result<Token> parse_token(const std::string& text);
KeyPair enrolment_key_pair(const Token& token);

}  // namespace troupe::net
