#include <algorithm>
#include <cstring>

#include <sodium.h>

#include <troupe/model/sha256.h>
#include <troupe/model/store.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace troupe::model {
namespace {

constexpr std::array<std::uint32_t, 8> kInitial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

#if defined(__x86_64__)
alignas(16) constexpr std::uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// The instructions hold the state as ABEF and CDGH; each takes two rounds from one half to the
// other. m[i % 4] are the four newest vectors of the message schedule.
__attribute__((target("sha,sse4.1"))) void hash_blocks(std::uint32_t* state, const std::byte* data,
                                                       std::size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
  const __m128i abcd = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
  const __m128i efgh = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
  const __m128i cdab = _mm_shuffle_epi32(abcd, 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(efgh, 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, cdab, 0xf0);
  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i m[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      m[i] =
          _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 16 * i)), swap);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m128i current = m[i % 4];
      __m128i words =
          _mm_add_epi32(current, _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds + 4 * i)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
      if (i >= 3 && i < 15) {
        __m128i& next = m[(i + 1) % 4];
        next = _mm_add_epi32(next, _mm_alignr_epi8(current, m[(i + 3) % 4], 4));
        next = _mm_sha256msg2_epu32(next, current);
      }
      words = _mm_shuffle_epi32(words, 0x0e);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, words);
      if (i >= 1 && i < 13) m[(i + 3) % 4] = _mm_sha256msg1_epu32(m[(i + 3) % 4], current);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

bool detect() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return false;
  const bool sse41 = (c >> 19 & 1) != 0 && (c >> 9 & 1) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return sse41 && (b >> 29 & 1) != 0;
}
#else
void hash_blocks(std::uint32_t*, const std::byte*, std::size_t) {
  TROUPE_CHECK(false, "no SHA instructions in this build");
}
bool detect() { return false; }
#endif

crypto_hash_sha256_state* sodium(std::array<std::byte, 128>* bytes) {
  static_assert(sizeof(crypto_hash_sha256_state) <= 128);
  return reinterpret_cast<crypto_hash_sha256_state*>(bytes->data());
}

}  // namespace

bool Sha256::cpu_supports_it() {
  static const bool supported = detect();
  return supported;
}

Sha256::Sha256(bool portable) : portable_(portable || !cpu_supports_it()), state_(kInitial) {
  if (portable_) crypto_hash_sha256_init(sodium(&sodium_state_));
}

void Sha256::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (portable_) {
    crypto_hash_sha256_update(sodium(&sodium_state_),
                              reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  } else {
    update_with_cpu(bytes);
  }
}

void Sha256::update_with_cpu(std::span<const std::byte> bytes) {
  bytes_ += bytes.size();
  if (tail_bytes_ > 0) {
    const std::size_t taken = std::min(kBlockBytes - tail_bytes_, bytes.size());
    std::memcpy(tail_.data() + tail_bytes_, bytes.data(), taken);
    tail_bytes_ += taken;
    bytes = bytes.subspan(taken);
    if (tail_bytes_ < kBlockBytes) return;
    hash_blocks(state_.data(), tail_.data(), 1);
    tail_bytes_ = 0;
  }
  const std::size_t blocks = bytes.size() / kBlockBytes;
  hash_blocks(state_.data(), bytes.data(), blocks);
  bytes = bytes.subspan(blocks * kBlockBytes);
  if (!bytes.empty()) std::memcpy(tail_.data(), bytes.data(), bytes.size());
  tail_bytes_ = bytes.size();
}

std::array<std::uint8_t, 32> Sha256::digest_with_cpu() {
  const std::uint64_t bits = bytes_ * 8;
  std::array<std::byte, 2 * kBlockBytes> end{};
  std::memcpy(end.data(), tail_.data(), tail_bytes_);
  end[tail_bytes_] = std::byte{0x80};
  const std::size_t blocks = tail_bytes_ + 1 + sizeof bits <= kBlockBytes ? 1 : 2;
  for (std::size_t i = 0; i < sizeof bits; ++i) {
    end[blocks * kBlockBytes - 1 - i] = static_cast<std::byte>(bits >> (8 * i));
  }
  hash_blocks(state_.data(), end.data(), blocks);
  std::array<std::uint8_t, 32> digest;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

std::string Sha256::hex() {
  std::array<std::uint8_t, 32> digest;
  if (portable_) {
    crypto_hash_sha256_final(sodium(&sodium_state_), digest.data());
  } else {
    digest = digest_with_cpu();
  }
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : digest) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

bool is_sha256_hex(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

}  // namespace troupe::model
