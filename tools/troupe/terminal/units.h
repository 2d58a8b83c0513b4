#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

// Sizes and times as people write them.

namespace troupe::tools {

// "4GiB", "512MiB", "1.5GiB", "2GB" (powers of ten), "4096" (bytes) -> bytes, at least 1.
// kInvalidArgument: "takes ...", the end of a sentence whose beginning names the option.
Result<std::uint64_t> parse_bytes(std::string_view text);

constexpr std::int64_t kForever = -1;
// "90", "90s", "5m", "2h", "1d" -> seconds; "forever" -> kForever where `forever` allows it.
// kInvalidArgument as parse_bytes.
Result<std::int64_t> parse_duration(std::string_view text, bool forever);
// "4m 10s"; kForever is "forever".
std::string format_duration(std::int64_t seconds);
// "4.0 GiB"
std::string format_binary_bytes(std::uint64_t bytes);

}  // namespace troupe::tools
