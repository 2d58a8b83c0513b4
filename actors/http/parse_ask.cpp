#include <nlohmann/json.hpp>

#include <troupe/actors/http/field_table.h>
#include <troupe/actors/http/json_body.h>
#include <troupe/actors/http/parse_ask.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

using nlohmann::json;
using Error = std::optional<ApiError>;

const FieldRow* find_row(AskKind kind, const std::string& name) {
  for (const FieldRow& row : field_rows()) {
    if (name == row.name && use_of(row, kind) != FieldUse::kUnknown) return &row;
  }
  return nullptr;
}

bool is_empty(const json& value) {
  return value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         (value.is_structured() && value.empty());
}

Error read_field(const std::string& name, const json& value, GenerationAsk* ask) {
  const FieldRow* row = find_row(ask->kind, name);
  if (row == nullptr) {
    const std::string shown = in_quotes(name);
    return bad_request("the server knows no field " + shown + " of this endpoint; leave it out",
                       shown.substr(1, shown.size() - 2), "unknown_parameter");
  }
  if (value.is_null()) return std::nullopt;  // as if it were absent
  switch (use_of(*row, ask->kind)) {
    case FieldUse::kRefused:
      if (is_empty(value)) return std::nullopt;
      return bad_request(name + " is not supported by this server; leave it out", name,
                         "unsupported_parameter");
    case FieldUse::kIgnored:
      if (row->read == nullptr || is_empty(value)) return std::nullopt;
      return row->read(value, name, ask);
    default:
      return row->read(value, name, ask);
  }
}

Error missing(const char* name) {
  return bad_request(std::string(name) + " is missing", name, "missing_required_parameter");
}

// Checks what the fields mean together.
Error check_together(GenerationAsk* ask) {
  if (ask->model.empty()) return missing("model");
  if (ask->kind == AskKind::kChat && ask->messages_json.empty()) return missing("messages");
  if (ask->kind == AskKind::kCompletion && ask->prompts.empty()) return missing("prompt");
  if (ask->max_completion_tokens && ask->max_tokens &&
      *ask->max_completion_tokens != *ask->max_tokens) {
    return bad_request("max_tokens and max_completion_tokens say different numbers; give one",
                       "max_completion_tokens", "invalid_value");
  }
  if (ask->max_completion_tokens) ask->max_tokens = ask->max_completion_tokens;
  if (ask->kind == AskKind::kChat && ask->top_logprobs.value_or(0) > 0 && !ask->logprobs) {
    return bad_request("top_logprobs needs logprobs to be true", "top_logprobs", "invalid_value");
  }
  const std::size_t prompts = ask->kind == AskKind::kChat ? 1 : ask->prompts.size();
  if (ask->n * prompts > kChoicesMax) {
    return bad_request("n times the number of prompts is " + std::to_string(ask->n * prompts) +
                           ", more than " + std::to_string(kChoicesMax),
                       "n", "invalid_value");
  }
  if (ask->max_tokens && ask->n * *ask->max_tokens > kTokensMax) {
    return bad_request(
        "n times max_tokens is more than " + std::to_string(kTokensMax) + " tokens; ask for fewer",
        "n", "invalid_value");
  }
  if (ask->include_usage && !ask->stream) {
    return bad_request("stream_options is for streams: set stream to true", "stream_options",
                       "invalid_value");
  }
  return std::nullopt;
}

}  // namespace

Error parse_ask(AskKind kind, std::string_view body, GenerationAsk* ask) {
  ask->kind = kind;
  ask->sampling.temperature = 1.0f;
  json fields;
  if (Error error = parse_body(body, &fields)) return error;
  for (const auto& [name, value] : fields.items()) {
    if (Error error = read_field(name, value, ask)) return error;
  }
  return check_together(ask);
}

}  // namespace troupe::http
