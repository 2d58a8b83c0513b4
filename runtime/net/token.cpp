#include <algorithm>
#include <cstring>
#include <string_view>

#include <sodium.h>

#include <troupe/runtime/net/keys.h>

// The enrolment token's text, and the key pair that is derived from it.
//
//   offset bytes field
//        0     8 cluster id, little-endian
//        8    32 the head's public key
//       40    16 seed of the enrolment key pair
//       56     4 checksum: the first bytes of BLAKE2b-256 over "troupe-token-1" and bytes [0,56)
//       60      = 96 digits of base32, most significant bit first

namespace troupe::net {
namespace {

constexpr std::string_view kPrefix = "trp-";
// Crockford's digits have no i, l, o or u. When a token is read, i and l count as 1 and o as 0, in
// either case.
constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kTokenBytes = 60;
constexpr std::size_t kTokenDigits = kTokenBytes * 8 / 5;
using TokenBytes = std::array<std::uint8_t, kTokenBytes>;

std::array<std::uint8_t, 32> hash(std::string_view domain, const std::uint8_t* data,
                                  std::size_t bytes) {
  std::array<std::uint8_t, 32> out{};
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, out.size());
  crypto_generichash_update(&state, reinterpret_cast<const std::uint8_t*>(domain.data()),
                            domain.size());
  crypto_generichash_update(&state, data, bytes);
  crypto_generichash_final(&state, out.data(), out.size());
  return out;
}

TokenBytes pack(const Token& token) {
  TokenBytes bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(token.cluster >> (8 * i));
  }
  std::copy(token.head.begin(), token.head.end(), bytes.begin() + 8);
  std::copy(token.seed.begin(), token.seed.end(), bytes.begin() + 40);
  const auto sum = hash("troupe-token-1", bytes.data(), 56);
  std::copy(sum.begin(), sum.begin() + 4, bytes.begin() + 56);
  return bytes;
}

std::size_t digit_value(char c) {
  if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (c == 'o') c = '0';
  if (c == 'i' || c == 'l') c = '1';
  return kDigits.find(c);
}

}  // namespace

std::string to_text(const Token& token) {
  const TokenBytes bytes = pack(token);
  std::string text(kPrefix);
  for (std::size_t digit = 0; digit < kTokenDigits; ++digit) {
    unsigned value = 0;
    for (std::size_t bit = 5 * digit; bit < 5 * digit + 5; ++bit) {
      value = value << 1 | (bytes[bit / 8] >> (7 - bit % 8) & 1u);
    }
    text += kDigits[value];
  }
  return text;
}

Result<Token> parse_token(const std::string& text) {
  const std::string_view view = text;
  if (!view.starts_with(kPrefix)) {
    return Status(Code::kInvalidArgument,
                  "a token begins with 'trp-': copy it from the line that `troupe start` printed");
  }
  const std::string_view digits = view.substr(kPrefix.size());
  if (digits.size() != kTokenDigits) {
    return Status(Code::kInvalidArgument, "the token has " + std::to_string(digits.size()) +
                                              " characters after 'trp-' instead of " +
                                              std::to_string(kTokenDigits) +
                                              ": copy it again, whole");
  }
  TokenBytes bytes{};
  for (std::size_t i = 0; i < kTokenDigits; ++i) {
    const std::size_t value = digit_value(digits[i]);
    if (value == std::string_view::npos) {
      return Status(Code::kInvalidArgument,
                    "the token has a wrong character after 'trp-' at place " +
                        std::to_string(i + 1) + ": copy it again");
    }
    for (std::size_t j = 0; j < 5; ++j) {
      const std::size_t bit = 5 * i + j;
      if ((value >> (4 - j) & 1) != 0) bytes[bit / 8] |= static_cast<std::uint8_t>(128 >> bit % 8);
    }
  }
  Token token;
  for (std::size_t i = 0; i < 8; ++i) {
    token.cluster |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
  }
  std::copy_n(bytes.begin() + 8, 32, token.head.begin());
  std::copy_n(bytes.begin() + 40, 16, token.seed.begin());
  if (pack(token) != bytes) {
    return Status(Code::kInvalidArgument,
                  "the token is mistyped, since its checksum does not fit: copy it again");
  }
  return token;
}

KeyPair enrolment_key_pair(const Token& token) {
  const TokenBytes bytes = pack(token);
  return key_pair_from_seed(hash("troupe-enrol-1", bytes.data(), 56));
}

}  // namespace troupe::net
