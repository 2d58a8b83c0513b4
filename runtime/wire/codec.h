#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// encode(message) / decode<Message>(bytes): bodies of frames through cereal with a bounded archive.
// A message is a struct of numbers, bools, enums, strings, std::vector, std::array and such structs,
// with `template <class Archive> void serialize(Archive& archive) { archive(a, b, ...); }`.
// No pointers, no polymorphism. Little-endian; a string or vector is a u32 count and its elements;
// a count is checked against the bytes that are left before anything is resized. Pure.
//
//   std::vector<std::byte> encode(const T& message);
//   Result<T> decode<T>(std::span<const std::byte> bytes);   // kBadData: truncated, count too
//                                                            // large, bytes left over
