#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/actors/http/api_error.h>

// Turns the messages of a chat request, as a client sends them, into those that templates read.
// Pure.

namespace troupe::http {

// Checks `value`, the field `name`, and writes a JSON list of {"role", "content"} and, where it is
// given, "name". Text parts are joined; the role "developer" becomes "system", which templates
// know.
std::optional<ApiError> read_chat_messages(const nlohmann::json& value, const std::string& name,
                                           std::string* messages_json);

}  // namespace troupe::http
