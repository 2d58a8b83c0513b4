#pragma once

#include <optional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <troupe/actors/http/api_error.h>

// The JSON of a request's body, within bounds. Pure.

namespace troupe::http {

// Reads an object of at most 32 levels, whose keys occur once each. Its size is bounded by the
// reader of requests.
std::optional<ApiError> parse_body(std::string_view body, nlohmann::json* fields);

}  // namespace troupe::http
