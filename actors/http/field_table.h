#pragma once

#include <optional>
#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation_ask.h>

// Every field that a client may send to the generating endpoints, and what the server does with it.
// A field without a row is refused by name. docs/api.md has the same rows; a test compares the two.
// Pure.

namespace troupe::http {

enum class FieldUse {
  kUnknown,   // the endpoint has no such field
  kHonoured,  // the field does what it says
  kIgnored,   // the field is accepted, and has no effect here
  kRefused,   // the field asks for what the server cannot do: only null and empty values are
              // accepted
};

// Reads a value that is not null into the ask, or says what is wrong with it.
using ReadField = std::optional<ApiError> (*)(const nlohmann::json& value, const std::string& name,
                                              GenerationAsk* ask);

struct FieldRow {
  const char* name;
  FieldUse chat, completion;
  // For kHonoured and kIgnored: reads, or checks, the value. Null if any value is ignored.
  ReadField read;
};

std::span<const FieldRow> field_rows();
FieldUse use_of(const FieldRow& row, AskKind kind);

}  // namespace troupe::http
