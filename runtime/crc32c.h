#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// CRC-32C (Castagnoli), the checksum of TFRecord files. It is meant for small records, and looks up
// a byte at a time in a table. Pure. Source: RFC 3720, appendix B.4, which has the test's vectors.

namespace troupe {

std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace troupe
