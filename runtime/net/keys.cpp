#include <cerrno>
#include <cstring>
#include <string_view>

#include <sodium.h>
#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/private_file.h>
#include <troupe/runtime/text/hex.h>

namespace troupe::net {
namespace {

constexpr std::string_view kFileMagic = "troupe-key-1";
constexpr std::string_view kZ85 =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

void use_sodium() {
  static const int ready = sodium_init();
  TROUPE_CHECK(ready >= 0, "libsodium has no source of randomness");
}

Status not_a_key_file(const std::filesystem::path& path) {
  return Status(Code::kBadData, path.string() +
                                    " is not a Troupe key file: restore it from a copy, or remove "
                                    "it to get a new identity");
}

}  // namespace

std::size_t KeyHash::operator()(const PublicKey& key) const {
  std::size_t value;
  std::memcpy(&value, key.data(), sizeof value);
  return value;
}

const char* role_name(Role role) {
  switch (role) {
    case Role::kHead:
      return "head";
    case Role::kNode:
      return "node";
    case Role::kClient:
      return "user";
    case Role::kEnrol:
      return "enrol";
    case Role::kServer:
      return "server";
    case Role::kOperator:
      return "operator";
    case Role::kAdmin:
      return "admin";
  }
  return "unknown";
}

std::optional<Role> token_role(const std::string& name) {
  if (name == "client") return Role::kClient;
  for (const Role role :
       {Role::kNode, Role::kClient, Role::kServer, Role::kOperator, Role::kAdmin}) {
    if (name == role_name(role)) return role;
  }
  return std::nullopt;
}

KeyPair make_key_pair() {
  use_sodium();
  KeyPair pair;
  crypto_box_keypair(pair.public_key.data(), pair.secret_key.data());
  return pair;
}

KeyPair key_pair_from_seed(const std::array<std::uint8_t, 32>& seed) {
  use_sodium();
  static_assert(crypto_box_SEEDBYTES == 32 && crypto_box_PUBLICKEYBYTES == 32);
  KeyPair pair;
  crypto_box_seed_keypair(pair.public_key.data(), pair.secret_key.data(), seed.data());
  return pair;
}

std::string key_id(const PublicKey& key) { return to_hex(std::span(key).first(4)); }

std::uint64_t random_u64() {
  use_sodium();
  std::uint64_t value = 0;
  while (value == 0) randombytes_buf(&value, sizeof value);
  return value;
}

// Writes Z85 (ZeroMQ RFC 32): four bytes, big-endian, are five digits of base 85.
std::string to_z85(const PublicKey& key) {
  std::string text;
  for (std::size_t i = 0; i < key.size(); i += 4) {
    std::uint32_t value = 0;
    for (std::size_t j = 0; j < 4; ++j) value = value << 8 | key[i + j];
    char digits[5];
    for (int j = 4; j >= 0; --j, value /= 85) digits[j] = kZ85[value % 85];
    text.append(digits, sizeof digits);
  }
  return text;
}

Result<PublicKey> key_from_z85(const std::string& text) {
  const auto bad = [&] {
    return Status(Code::kInvalidArgument, std::string("'") + text.substr(0, 64) +
                                              "' is not a key: 40 characters of Z85 are expected");
  };
  if (text.size() != 40) return bad();
  PublicKey key{};
  for (std::size_t i = 0; i < 8; ++i) {
    std::uint64_t value = 0;
    for (std::size_t j = 0; j < 5; ++j) {
      const std::size_t digit = kZ85.find(text[5 * i + j]);
      if (digit == std::string_view::npos) return bad();
      value = value * 85 + digit;
    }
    if (value > UINT32_MAX) return bad();
    for (std::size_t j = 0; j < 4; ++j) {
      key[4 * i + j] = static_cast<std::uint8_t>(value >> (24 - 8 * j));
    }
  }
  return key;
}

Result<KeyPair> load_key_pair(const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(std::string content, read_private_file(path, 4096));
  // troupe-key-1\n<public, Z85>\n<secret, Z85>\n
  if (content.size() != kFileMagic.size() + 1 + 41 + 41 || !content.starts_with(kFileMagic)) {
    return not_a_key_file(path);
  }
  const Result<PublicKey> public_key = key_from_z85(content.substr(kFileMagic.size() + 1, 40));
  const Result<SecretKey> secret_key = key_from_z85(content.substr(kFileMagic.size() + 42, 40));
  sodium_memzero(content.data(), content.size());
  if (!public_key || !secret_key) return not_a_key_file(path);
  PublicKey derived{};
  use_sodium();
  crypto_scalarmult_base(derived.data(), secret_key->data());
  if (derived != *public_key) return not_a_key_file(path);
  return KeyPair{*public_key, *secret_key};
}

Result<KeyPair> load_or_make_key_pair(const std::filesystem::path& path) {
  Result<KeyPair> stored = load_key_pair(path);
  if (stored || stored.code() != Code::kNotFound) return stored;
  const KeyPair pair = make_key_pair();
  const std::string content = std::string(kFileMagic) + "\n" + to_z85(pair.public_key) + "\n" +
                              to_z85(pair.secret_key) + "\n";
  // The file is written under another name and linked: of two processes that start at once, both
  // use the key whose link succeeds.
  std::filesystem::path fresh = path;
  fresh += ".new." + std::to_string(random_u64());
  TROUPE_RETURN_IF_ERROR(write_file_atomically(fresh, content, 0600));
  const int linked = ::link(fresh.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(fresh.c_str());
  if (linked != 0 && linked != EEXIST) {
    return Status(Code::kInternal,
                  "cannot store the key " + path.string() + ": " + std::strerror(linked));
  }
  return load_key_pair(path);
}

}  // namespace troupe::net
