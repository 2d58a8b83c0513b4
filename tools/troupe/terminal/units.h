#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

// Sizes and times as people write them.

namespace troupe::tools {

// Turns "4GiB", "512MiB", "1.5GiB", "2GB" (powers of ten) or "4096" (bytes) into bytes, at least 1.
//   Errors: kInvalidArgument ("takes ...", the end of a sentence whose beginning names the option).
Result<std::uint64_t> parse_bytes(std::string_view text);

constexpr std::int64_t kForever = -1;
// Turns "90", "90s", "5m", "2h" or "1d" into seconds, and "forever" into kForever if `forever`
// allows it.
//   Errors: as parse_bytes.
Result<std::int64_t> parse_duration(std::string_view text, bool forever);
// Returns a duration such as "4m 10s"; kForever is "forever".
std::string format_duration(std::int64_t seconds);
// Returns a size such as "4.0 GiB".
std::string format_binary_bytes(std::uint64_t bytes);

}  // namespace troupe::tools
