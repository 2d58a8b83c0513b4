#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>

// The parts of the GGUF reader, for gguf*.cpp alone: the cursor that every field is read through,
// the key-values (gguf_values.cpp) and the tensor table (gguf_tensors.cpp). Layout, all
// little-endian; a string is u64 bytes, then the bytes:
//
//   "GGUF"  u32 version  u64 tensors  u64 metadata entries
//   metadata entry: string key, u32 value type, value; an array is u32 type, u64 count, values
//   tensor entry:   string name, u32 dimensions n, u64 x n (contiguous first), u32 type, u64 offset
//   padding to general.alignment; offsets count from here

namespace troupe::model {

constexpr std::uint64_t kGgufEntryBytesMin = 8 + 4 + 1;
constexpr std::uint64_t kGgufTensorBytesMin = 8 + 4 + 8 + 4 + 8;

// Reads fields in order; every read is checked against what is left, and the first failure says
// which field it was.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& what)
      : bytes_(bytes), what_(what) {}

  std::uint64_t left() const { return bytes_.size() - at_; }
  std::uint64_t at() const { return at_; }

  Status bad(const std::string& sentence) const {
    return Status(Code::kBadData, what_ + ": " + sentence);
  }
  // What no writer writes.
  Status damaged(const std::string& sentence) const {
    return bad(sentence + "; the file is damaged: fetch it again");
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

  // For long arrays: no message is built unless the read fails.
  bool try_string(std::string* out) {
    std::uint64_t bytes = 0;
    if (left() < sizeof bytes) return false;
    std::memcpy(&bytes, bytes_.data() + at_, sizeof bytes);
    if (left() - sizeof bytes < bytes) return false;
    out->assign(reinterpret_cast<const char*>(bytes_.data() + at_ + sizeof bytes), bytes);
    at_ += sizeof bytes + bytes;
    return true;
  }

  // The next `bytes` bytes, which the caller knows to be there.
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

// Where a key-value lies in the file: bytes [begin, end).
struct GgufEntryPlace {
  std::string key;
  std::uint64_t begin = 0, end = 0;
};
// The `count` key-values at the cursor; their places, in the file's order, unless null.
Status read_gguf_metadata(GgufCursor* cursor, std::uint64_t count, GgufHeader* header,
                          std::vector<GgufEntryPlace>* places);

// An entry of the tensor table as the file has it: types unchecked, offsets from the data's begin.
struct RawGgufTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};
Status read_gguf_tensors(GgufCursor* cursor, std::uint64_t count, std::vector<RawGgufTensor>* out);

// Checks sizes and places of the tensors, whose data begin at byte header->header_bytes of a file
// of `file_bytes`; no two overlap or share a name.
Status place_gguf_tensors(const GgufCursor& cursor, std::vector<RawGgufTensor> raw,
                          std::uint64_t file_bytes, GgufHeader* header);

// parse_gguf_header, which also says where the key-values lie.
Result<GgufHeader> parse_gguf(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                              const std::string& what, std::vector<GgufEntryPlace>* places);

}  // namespace troupe::model
