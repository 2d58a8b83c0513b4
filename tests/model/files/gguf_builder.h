#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Writes small GGUF files for tests, right or wrong on purpose.

namespace troupe::test {

class GgufBuilder {
 public:
  template <class T>
  GgufBuilder& put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  GgufBuilder& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  GgufBuilder& text(std::string_view value) {
    put<std::uint64_t>(value.size());
    return raw(value);
  }
  GgufBuilder& head(std::uint64_t tensors, std::uint64_t entries, std::uint32_t version = 3) {
    return raw("GGUF").put<std::uint32_t>(version).put(tensors).put(entries);
  }
  template <class T>
  GgufBuilder& entry(std::string_view key, std::uint32_t type, T value) {
    return text(key).put(type).put(value);
  }
  GgufBuilder& entry(std::string_view key, std::string_view value) {
    return text(key).put<std::uint32_t>(8).text(value);
  }
  GgufBuilder& entry(std::string_view key, const std::vector<std::string>& values) {
    text(key).put<std::uint32_t>(9).put<std::uint32_t>(8).put<std::uint64_t>(values.size());
    for (const std::string& value : values) text(value);
    return *this;
  }
  template <class T>
  GgufBuilder& array(std::string_view key, std::uint32_t type, const std::vector<T>& values) {
    text(key).put<std::uint32_t>(9).put(type).put<std::uint64_t>(values.size());
    for (const T& value : values) put(value);
    return *this;
  }
  // `sizes` has the contiguous dimension first, as in the file.
  GgufBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& sizes,
                      std::uint32_t type, std::uint64_t offset) {
    text(name).put<std::uint32_t>(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) put(size);
    return put(type).put(offset);
  }
  GgufBuilder& pad(std::size_t alignment = 32) {
    while (bytes_.size() % alignment != 0) bytes_.push_back('\0');
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

}  // namespace troupe::test
