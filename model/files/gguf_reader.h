#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/files/gguf_values.h>

// Reads the header of a GGUF file (v2, v3): metadata and tensor table. Every size is checked
// against the file before anything is allocated. Pure: bytes in, values out. Layout, all
// little-endian (a string is u64 bytes, then the bytes):
//
//   "GGUF"  u32 version  u64 tensors  u64 metadata entries
//   metadata entry: string key, u32 value type, value; an array is u32 type, u64 count, values
//   tensor entry:   string name, u32 dimensions n, u64 x n (contiguous first), u32 type, u64 offset
//   padding to general.alignment; offsets count from here
//
// Source: the GGUF specification (ggml/docs/gguf.md).

namespace troupe::model {

// `bytes` must hold at least the header of the file. `file_bytes` is the size of the whole file,
// against which the tensors' ranges are checked. `what` names the file in messages.
//   Errors: kBadData with field and value, also for nested arrays, unknown types, overlapping or
//   repeated tensors, and keys that are not UTF-8.
Result<GgufHeader> parse_gguf_header(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                                     const std::string& what);

// Does the same, and appends to `places` where each key-value lies in the file, unless it is null.
Result<GgufHeader> parse_gguf(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                              const std::string& what, std::vector<GgufEntryPlace>* places);

}  // namespace troupe::model
