#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// The header of a GGUF file (v2, v3): metadata and tensor table, every size checked against the
// file before anything is allocated. Pure: bytes in, values out.
// Source: the GGUF specification (ggml/docs/gguf.md).

namespace troupe::model {

using GgufValue =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t,
                 std::int32_t, float, bool, std::string, std::uint64_t, std::int64_t, double,
                 std::vector<std::string>,   // array of strings
                 std::vector<std::int64_t>,  // array of any integer or bool type
                 std::vector<double>>;       // array of f32 or f64

struct TensorInfo {
  std::string name;
  quant::Type type = quant::Type::kF32;
  // Row-major: shape.back() is the contiguous dimension (GGUF's ne[0]); at most 4 entries.
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // from the start of the file
  std::uint64_t bytes = 0;
};

struct GgufHeader {
  std::string what;  // how messages call the file; "" when it is none
  std::uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<TensorInfo> tensors;
  std::uint64_t header_bytes = 0;  // everything before the first tensor's bytes
  std::uint64_t alignment = 32;    // of tensors, counted from header_bytes
  const TensorInfo* tensor(std::string_view name) const;  // nullptr when absent
  // Typed look-ups: kBadData naming the key when absent or of another type (integers convert when
  // they fit).
  Result<std::uint64_t> u64(std::string_view key) const;
  Result<double> f64(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  // The same status, said of this file: "WHAT: message".
  Status of_this(const Status& status) const;
};

// `bytes`: at least the header of the file; `file_bytes`: the size of the whole file, against which
// tensor ranges are checked. Nested arrays, unknown types, overlapping or repeated tensors,
// non-UTF-8 keys: kBadData with field and value. `what` names the file in messages.
Result<GgufHeader> parse_gguf_header(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                                     const std::string& what);

}  // namespace troupe::model
