#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// The header of a GGUF file as plain values: metadata and tensor table. gguf_reader.h reads it from
// a file's bytes, gguf_writer.h writes it. Source: the GGUF specification (ggml/docs/gguf.md).

namespace troupe::model {

using GgufValue =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t,
                 std::int32_t, float, bool, std::string, std::uint64_t, std::int64_t, double,
                 std::vector<std::string>,   // array of strings
                 std::vector<std::int64_t>,  // array of any integer or bool type
                 std::vector<double>>;       // array of f32 or f64
using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

struct TensorInfo {
  std::string name;
  quant::Type type = quant::Type::kF32;
  // Row-major: shape.back() is the contiguous dimension (GGUF's ne[0]). At most 4 entries.
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // from the start of the file
  std::uint64_t bytes = 0;
};

struct GgufHeader {
  std::string what;  // file name for error messages; empty if not from a file
  std::uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<TensorInfo> tensors;
  std::uint64_t header_bytes = 0;  // everything before the first tensor's bytes
  std::uint64_t alignment = 32;    // of tensors, counted from header_bytes
  const TensorInfo* tensor(std::string_view name) const;  // nullptr if it is absent
  // These look a key up with its type. An integer converts to another type if it fits, and an array
  // with one value for each layer is that value if all are equal.
  //   Errors: kBadData naming the key if it is absent or has another type.
  Result<std::uint64_t> u64(std::string_view key) const;
  Result<double> f64(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  // Returns the same status with the file's name: "WHAT: message".
  Status of_this(const Status& status) const;
};

// Says whether a tensor has a name that GGUF's writers give to parts of a model. Other tensors were
// added for another program, and nobody computes with them.
bool is_model_tensor(std::string_view name);

}  // namespace troupe::model
