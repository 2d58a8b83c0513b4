#include <algorithm>

#include <nlohmann/json.hpp>

#include <troupe/actors/http/chat_messages.h>
#include <troupe/actors/http/generation_ask.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

using nlohmann::json;
using Error = std::optional<ApiError>;

constexpr std::size_t kAuthorBytesMax = 64;

ApiError wrong(const std::string& where, const std::string& what, const char* code) {
  return bad_request(where + " " + what, where, code);
}

Error read_role(const json& message, const std::string& where, std::string* role) {
  const auto found = message.find("role");
  if (found == message.end() || !found->is_string()) {
    return wrong(where + ".role", "is missing, expected \"system\", \"user\" or \"assistant\"",
                 "invalid_value");
  }
  *role = found->get<std::string>();
  if (*role == "developer") *role = "system";
  if (*role == "system" || *role == "user" || *role == "assistant") return std::nullopt;
  if (*role == "tool" || *role == "function") {
    return wrong(where + ".role",
                 "is " + in_quotes(*role) + "; the server does not support tools yet",
                 "unsupported_value");
  }
  return wrong(
      where + ".role",
      "is " + in_quotes(*role) + ", expected \"system\", \"developer\", \"user\" or \"assistant\"",
      "invalid_value");
}

Error read_part(const json& part, const std::string& where, std::string* text) {
  if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
    return wrong(where, "is not a content part, expected {\"type\": \"text\", \"text\": ...}",
                 "invalid_value");
  }
  const std::string type = part["type"].get<std::string>();
  if (type != "text") {
    return wrong(where + ".type",
                 "is " + in_quotes(type) + "; the models of this server read text only",
                 "unsupported_value");
  }
  for (const auto& [key, value] : part.items()) {
    if (key == "type" || key == "text" || key == "prompt_cache_breakpoint") continue;
    return wrong(where + "." + key, "is not supported; leave it out", "unknown_parameter");
  }
  if (!part.contains("text") || !part["text"].is_string()) {
    return wrong(where + ".text", "is missing, expected a text", "invalid_value");
  }
  *text += part["text"].get<std::string>();
  return std::nullopt;
}

Error read_content(const json& message, const std::string& where, std::string* content) {
  const auto found = message.find("content");
  if (found == message.end() || found->is_null()) {
    return wrong(where + ".content", "is missing, expected a text or a list of text parts",
                 "invalid_value");
  }
  if (found->is_string()) {
    *content = found->get<std::string>();
    return std::nullopt;
  }
  if (!found->is_array() || found->empty()) {
    return wrong(where + ".content",
                 std::string("is ") + (found->is_array() ? "an empty list" : "no text") +
                     ", expected a text or a list of text parts",
                 "invalid_type");
  }
  for (std::size_t i = 0; i < found->size(); ++i) {
    const std::string part = where + ".content[" + std::to_string(i) + "]";
    if (Error error = read_part((*found)[i], part, content)) return error;
  }
  return std::nullopt;
}

Error read_name(const json& value, const std::string& where, std::string* name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  if (value.is_string()) *name = value.get<std::string>();
  const bool fits = value.is_string() && !name->empty() && name->size() <= kAuthorBytesMax &&
                    std::all_of(name->begin(), name->end(), plain);
  if (fits) return std::nullopt;
  return wrong(where + ".name", "must be 1 to 64 letters, digits, underscores and hyphens",
               "invalid_value");
}

Error read_message(const json& message, const std::string& where, json* out) {
  if (!message.is_object()) {
    return wrong(where,
                 std::string("is a JSON ") + message.type_name() +
                     ", expected an object with \"role\" and \"content\"",
                 "invalid_type");
  }
  std::string role, content;
  if (Error error = read_role(message, where, &role)) return error;
  if (Error error = read_content(message, where, &content)) return error;
  *out = {{"role", role}, {"content", content}};
  for (const auto& [key, value] : message.items()) {
    if (key == "role" || key == "content") continue;
    // Clients send their own answers back as they got them, with fields that are empty.
    if (value.is_null() || (value.is_structured() && value.empty())) continue;
    if (key != "name") {
      return wrong(where + "." + key, "is not supported; leave it out", "unknown_parameter");
    }
    std::string name;
    if (Error error = read_name(value, where, &name)) return error;
    (*out)["name"] = name;
  }
  return std::nullopt;
}

}  // namespace

Error read_chat_messages(const json& value, const std::string& name, std::string* messages_json) {
  if (!value.is_array() || value.empty()) {
    return wrong(name, "must be a list of at least one message", "invalid_type");
  }
  if (value.size() > kMessagesMax) {
    return wrong(name,
                 "has " + std::to_string(value.size()) + " messages, more than " +
                     std::to_string(kMessagesMax),
                 "invalid_value");
  }
  json messages = json::array();
  for (std::size_t i = 0; i < value.size(); ++i) {
    json message;
    const std::string where = name + "[" + std::to_string(i) + "]";
    if (Error error = read_message(value[i], where, &message)) return error;
    messages.push_back(std::move(message));
  }
  *messages_json = messages.dump();
  return std::nullopt;
}

}  // namespace troupe::http
