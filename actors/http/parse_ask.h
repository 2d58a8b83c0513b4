#pragma once

#include <optional>
#include <string_view>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation_ask.h>

// Turns the body of a generating request into plain values. Pure.

namespace troupe::http {

// Reads a body. Every field of it is in the table, has the right type and is within its bounds.
// Returns the error that the client gets, or nothing.
std::optional<ApiError> parse_ask(AskKind kind, std::string_view body, GenerationAsk* ask);

}  // namespace troupe::http
