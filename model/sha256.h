#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

// SHA-256 of bytes that come in parts, with the CPU's SHA instructions where it has them (about
// five times faster than portable C), else through libsodium. Not thread-safe: one owner.
// Source: FIPS 180-4.

namespace troupe::model {

class Sha256 {
 public:
  // `portable`: libsodium even where the CPU could do it (for tests).
  explicit Sha256(bool portable = false);
  void update(std::span<const std::byte> bytes);
  // 64 lower-case hex digits; ends the object's use.
  std::string hex();

  static bool cpu_supports_it();

 private:
  static constexpr std::size_t kBlockBytes = 64;
  void update_with_cpu(std::span<const std::byte> bytes);
  std::array<std::uint8_t, 32> digest_with_cpu();

  bool portable_;
  std::array<std::uint32_t, 8> state_;
  std::array<std::byte, kBlockBytes> tail_;  // bytes of a block that is not full
  std::size_t tail_bytes_ = 0;
  std::uint64_t bytes_ = 0;
  alignas(64) std::array<std::byte, 128> sodium_state_;
};

// 64 lower-case hex digits and nothing else.
bool is_sha256_hex(const std::string& text);

}  // namespace troupe::model
