#include <algorithm>
#include <array>

#include <openssl/evp.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/status.h>
#include <troupe/runtime/text/hex.h>

namespace troupe {
namespace {

EVP_MD_CTX* as_context(void* context) { return static_cast<EVP_MD_CTX*>(context); }

void* new_context() {
  void* context = EVP_MD_CTX_new();
  TROUPE_CHECK(context != nullptr, "no memory for a hash");
  return context;
}

}  // namespace

void Sha256::Release::operator()(void* context) const { EVP_MD_CTX_free(as_context(context)); }

Sha256::Sha256() : context_(new_context()) {
  const int started = EVP_DigestInit_ex(as_context(context_.get()), EVP_sha256(), nullptr);
  TROUPE_CHECK(started == 1, "OpenSSL has no SHA-256");
}

Sha256::Sha256(const Sha256& other) : context_(new_context()) {
  const int copied =
      EVP_MD_CTX_copy_ex(as_context(context_.get()), as_context(other.context_.get()));
  TROUPE_CHECK(copied == 1, "OpenSSL cannot copy a hash");
}

Sha256& Sha256::operator=(const Sha256& other) {
  if (this != &other) *this = Sha256(other);
  return *this;
}

void Sha256::update(std::span<const std::byte> bytes) {
  const int updated = EVP_DigestUpdate(as_context(context_.get()), bytes.data(), bytes.size());
  TROUPE_CHECK(updated == 1, "OpenSSL cannot hash");
}

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  const int ended = EVP_DigestFinal_ex(as_context(context_.get()), digest.data(), nullptr);
  TROUPE_CHECK(ended == 1, "OpenSSL cannot end a hash");
  return to_hex(digest);
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  constexpr std::size_t kStep = 1 << 20;
  TROUPE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  Sha256 hash;
  const std::span<const std::byte> bytes = file.bytes();
  for (std::size_t at = 0; at < bytes.size(); at += kStep) {
    const std::size_t count = std::min(kStep, bytes.size() - at);
    hash.update(bytes.subspan(at, count));
    file.drop_pages(at, count);
  }
  return hash.hex();
}

bool is_sha256_hex(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace troupe
