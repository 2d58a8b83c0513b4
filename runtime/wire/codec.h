#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <cereal/cereal.hpp>

#include <troupe/runtime/status.h>
#include <troupe/runtime/wire/encode.h>

// Defines encode(message) and decode<Message>(bytes), which put the bodies of frames through cereal
// with a bounded archive. A message is a struct of numbers, bools, enums, strings, std::vector,
// std::array, std::optional and such structs, with
//   `template <class Archive> void serialize(Archive& archive) { archive(a, b, ...); }`.
// No pointers, no polymorphism, and none of cereal's own container loaders: they resize before they
// read. Pure.
//
//   number, enum        its bytes, little-endian; an enum as its underlying type. A receiver checks
//                       an enum's value itself: any value of the underlying type may arrive
//   bool, presence      one byte, 0 or 1
//   string, vector      u32 count, then the elements; the count is checked against the bytes that
//                       are left before anything is resized, and structs are appended one by one,
//                       so that memory grows only as bytes are consumed
//   array, struct       the elements, in order; nested containers at most kNestingMax deep

namespace troupe::wire {

constexpr int kNestingMax = 32;

static_assert(std::endian::native == std::endian::little, "the wire is little-endian");

// Elements that are copied as one block of memory.
template <class T>
inline constexpr bool kIsBlock = (std::is_arithmetic_v<T> && !std::is_same_v<T, bool> &&
                                  sizeof(T) <= 8) ||
                                 std::is_same_v<T, std::byte>;

// Writes into a byte vector. Never fails, except if a count does not fit into u32 (checked).
class Encoder : public cereal::OutputArchive<Encoder> {
 public:
  explicit Encoder(std::vector<std::byte>& out) : OutputArchive<Encoder>(this), out_(out) {}
  void write(const void* data, std::size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), begin, begin + bytes);
  }
  void write_count(std::size_t count) {
    TROUPE_CHECK(count <= UINT32_MAX, std::to_string(count) + " elements in one message");
    const auto count32 = static_cast<std::uint32_t>(count);
    write(&count32, sizeof count32);
  }

 private:
  std::vector<std::byte>& out_;
};

// Reads from bytes. The first error sticks: numbers that are read after it are zero.
class Decoder : public cereal::InputArchive<Decoder> {
 public:
  explicit Decoder(std::span<const std::byte> bytes)
      : InputArchive<Decoder>(this), begin_(bytes.data()), left_(bytes) {}

  bool failed() const { return error_ != nullptr; }
  std::size_t left() const { return left_.size(); }
  std::size_t position() const { return static_cast<std::size_t>(left_.data() - begin_); }
  // `error` is a string literal.
  void fail(const char* error) {
    if (error_ == nullptr) error_ = error;
  }
  void read(void* data, std::size_t bytes) {
    if (failed()) return;
    if (bytes > left_.size()) return fail("it ends too early");
    if (bytes != 0) std::memcpy(data, left_.data(), bytes);
    left_ = left_.subspan(bytes);
  }
  // Reads a count of elements of at least `element_bytes` each; 0 after an error.
  std::size_t read_count(std::size_t element_bytes) {
    std::uint32_t count = 0;
    read(&count, sizeof count);
    if (failed()) return 0;
    if (count > left_.size() / element_bytes) {
      fail("a count is larger than the bytes that are left");
      return 0;
    }
    return count;
  }
  bool enter() {
    if (++depth_ > kNestingMax) fail("its containers are nested too deeply");
    return !failed();
  }
  void leave() { --depth_; }
  Status finish() {
    if (!failed() && !left_.empty()) fail("bytes are left over");
    if (!failed()) return Status::ok();
    return Status(Code::kBadData,
                  "cannot read a message of " + std::to_string(position() + left_.size()) +
                      " bytes: at byte " + std::to_string(position()) + " " + error_);
  }

 private:
  const std::byte* begin_;
  std::span<const std::byte> left_;
  const char* error_ = nullptr;
  int depth_ = 0;
};

// cereal finds the functions below by the archive's namespace.

template <class T>
std::enable_if_t<std::is_arithmetic_v<T>> save(Encoder& archive, const T& value) {
  static_assert(sizeof(T) <= 8, "long double has no portable layout");
  if constexpr (std::is_same_v<T, bool>) {
    const std::uint8_t byte = value ? 1 : 0;
    archive.write(&byte, 1);
  } else {
    archive.write(&value, sizeof value);
  }
}

template <class T>
std::enable_if_t<std::is_arithmetic_v<T>> load(Decoder& archive, T& value) {
  static_assert(sizeof(T) <= 8, "long double has no portable layout");
  if constexpr (std::is_same_v<T, bool>) {
    std::uint8_t byte = 0;
    archive.read(&byte, 1);
    if (byte > 1) archive.fail("a bool is neither 0 nor 1");
    value = byte == 1;
  } else {
    value = T{};  // cereal passes uninitialised memory for an enum
    archive.read(&value, sizeof value);
  }
}

inline void save(Encoder& archive, const std::string& text) {
  archive.write_count(text.size());
  archive.write(text.data(), text.size());
}

inline void load(Decoder& archive, std::string& text) {
  text.resize(archive.read_count(1));
  archive.read(text.data(), text.size());
}

template <class T, class Allocator>
void save(Encoder& archive, const std::vector<T, Allocator>& items) {
  static_assert(!std::is_same_v<T, bool>, "use std::vector<std::uint8_t>");
  archive.write_count(items.size());
  if constexpr (kIsBlock<T>) {
    archive.write(items.data(), items.size() * sizeof(T));
  } else {
    for (const T& item : items) archive(item);
  }
}

template <class T, class Allocator>
void load(Decoder& archive, std::vector<T, Allocator>& items) {
  static_assert(!std::is_same_v<T, bool>, "use std::vector<std::uint8_t>");
  if constexpr (kIsBlock<T>) {
    items.resize(archive.read_count(sizeof(T)));
    archive.read(items.data(), items.size() * sizeof(T));
  } else {
    items.clear();
    const std::size_t count = archive.read_count(1);
    if (archive.enter()) {
      for (std::size_t i = 0; i < count && !archive.failed(); ++i) {
        const std::size_t before = archive.left();
        archive(items.emplace_back());
        // If elements had no bytes, a count of four bytes could make four billion of them.
        if (archive.left() == before) archive.fail("an element of a vector has no bytes");
      }
    }
    archive.leave();
  }
}

template <class T, std::size_t N>
void save(Encoder& archive, const std::array<T, N>& items) {
  if constexpr (kIsBlock<T>) {
    archive.write(items.data(), sizeof(T) * N);
  } else {
    for (const T& item : items) archive(item);
  }
}

template <class T, std::size_t N>
void load(Decoder& archive, std::array<T, N>& items) {
  if constexpr (kIsBlock<T>) {
    archive.read(items.data(), sizeof(T) * N);
  } else {
    for (T& item : items) archive(item);
  }
}

template <class T>
void save(Encoder& archive, const std::optional<T>& value) {
  archive(value.has_value());
  if (value) archive(*value);
}

template <class T>
void load(Decoder& archive, std::optional<T>& value) {
  value.reset();
  bool present = false;
  archive(present);
  if (present && !archive.failed() && archive.enter()) archive(value.emplace());
  if (present) archive.leave();
}

template <class T>
std::vector<std::byte> encode(const T& message) {
  std::vector<std::byte> out;
  Encoder archive(out);
  archive(message);
  return out;
}

template <class T>
Result<T> decode(std::span<const std::byte> bytes) {
  T message{};
  Decoder archive(bytes);
  archive(message);
  TROUPE_RETURN_IF_ERROR(archive.finish());
  return message;
}

}  // namespace troupe::wire

// Compiles encode() and decode() for a message; to be written in the namespace troupe::wire, in one
// .cpp file.
#define TROUPE_MESSAGE(Message)                                    \
  template std::vector<std::byte> encode<Message>(const Message&); \
  template Result<Message> decode<Message>(std::span<const std::byte>);

CEREAL_REGISTER_ARCHIVE(troupe::wire::Encoder)
CEREAL_REGISTER_ARCHIVE(troupe::wire::Decoder)
CEREAL_SETUP_ARCHIVE_TRAITS(troupe::wire::Decoder, troupe::wire::Encoder)
