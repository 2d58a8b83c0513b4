#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace troupe {

// Returns the bytes that `text` stands for, or nothing if it is not base64 with its padding. Pure.
// Source: RFC 4648, section 4.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace troupe
