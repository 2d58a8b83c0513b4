#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include <troupe/runtime/status.h>

// SHA-256 of bytes that arrive in parts, computed by OpenSSL's libcrypto, which uses the CPU's SHA
// instructions if there are any. The store, the fetchers and the command hash models with it. A
// copy continues from the state of the original. An object has one owner at a time. Source: FIPS
// 180-4.

namespace troupe {

class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256& other);
  Sha256& operator=(const Sha256& other);
  Sha256(Sha256&&) noexcept = default;
  Sha256& operator=(Sha256&&) noexcept = default;

  void update(std::span<const std::byte> bytes);
  // Returns 64 lower-case hex digits and ends the object's use.
  std::string hex();

 private:
  struct Release {
    void operator()(void* context) const;
  };
  // This is an EVP_MD_CTX, hidden so that users do not see OpenSSL's headers.
  std::unique_ptr<void, Release> context_;
};

// Returns the SHA-256 of `bytes` as 64 lower-case hex digits.
std::string sha256_hex(std::span<const std::byte> bytes);

// Returns the SHA-256 of a file's content. The file's pages are dropped as they are hashed, so that
// they do not count as memory of this process.
Result<std::string> sha256_of_file(const std::filesystem::path& path);

// Says whether `text` is 64 lower-case hex digits and nothing else.
bool is_sha256_hex(const std::string& text);

}  // namespace troupe
