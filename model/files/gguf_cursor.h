#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <troupe/runtime/status.h>

// The cursor through which every field of a GGUF header is read. For the readers of this room.

namespace troupe::model {

// Reads fields in order. Every read is checked against the bytes that are left, and the first
// failure says which field it was. `what` names the file in messages and must outlive the cursor.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& what)
      : bytes_(bytes), what_(what) {}

  std::uint64_t left() const { return bytes_.size() - at_; }
  std::uint64_t at() const { return at_; }

  Status bad(const std::string& sentence) const {
    return Status(Code::kBadData, what_ + ": " + sentence);
  }
  // Reports something that no writer writes.
  Status malformed(const std::string& sentence) const {
    return bad(sentence + "; take another file of the model");
  }

  Status truncated(const std::string& field, std::uint64_t needed) const {
    return bad("the file is cut off: " + field + " needs " + std::to_string(needed) +
               " bytes at byte " + std::to_string(at_) + ", where " + std::to_string(left()) +
               " are left; fetch it again");
  }

  template <class T>
  Status read(const std::string& field, T* out) {
    if (left() < sizeof(T)) return truncated(field, sizeof(T));
    std::memcpy(out, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return Status::ok();
  }

  Status read_string(const std::string& field, std::string* out) {
    std::uint64_t bytes = 0;
    TROUPE_RETURN_IF_ERROR(read("the length of " + field, &bytes));
    if (left() < bytes) return truncated(field, bytes);
    out->assign(reinterpret_cast<const char*>(bytes_.data() + at_), bytes);
    at_ += bytes;
    return Status::ok();
  }

  // For long arrays, in which a message should only be built if a read fails: returns false, and
  // read_string() at the same place then gives the message.
  bool try_string(std::string* out) {
    std::uint64_t bytes = 0;
    if (left() < sizeof bytes) return false;
    std::memcpy(&bytes, bytes_.data() + at_, sizeof bytes);
    if (left() - sizeof bytes < bytes) return false;
    out->assign(reinterpret_cast<const char*>(bytes_.data() + at_ + sizeof bytes), bytes);
    at_ += sizeof bytes + bytes;
    return true;
  }

  // Returns the next `bytes` bytes, which the caller must know to be there.
  const std::byte* take(std::uint64_t bytes) {
    const std::byte* data = bytes_.data() + at_;
    at_ += bytes;
    return data;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& what_;
  std::uint64_t at_ = 0;
};

}  // namespace troupe::model
