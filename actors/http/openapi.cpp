#include <set>

#include <nlohmann/json.hpp>

#include <troupe/actors/http/field_table.h>
#include <troupe/actors/http/message.h>
#include <troupe/actors/http/openapi.h>
#include <troupe/actors/http/routes.h>

namespace troupe::http {
namespace {

using nlohmann::json;

json reference(const std::string& name) { return {{"$ref", "#/components/schemas/" + name}}; }

json nullable(json schema) {
  schema["type"] = json::array({schema["type"], "null"});
  return schema;
}

json number(double least, double most) {
  return nullable({{"type", "number"}, {"minimum", least}, {"maximum", most}});
}

json whole(std::int64_t least, std::int64_t most) {
  return nullable({{"type", "integer"}, {"minimum", least}, {"maximum", most}});
}

json flag() { return nullable({{"type", "boolean"}}); }

json list_of(json items) { return {{"type", "array"}, {"items", std::move(items)}}; }

json text() { return {{"type", "string"}}; }

json message_schema() {
  json part = {{"type", "object"},
               {"required", {"type", "text"}},
               {"properties", {{"type", {{"const", "text"}}}, {"text", text()}}},
               {"additionalProperties", false}};
  json parts = list_of(part);
  parts["minItems"] = 1;
  return {{"type", "object"},
          {"required", {"role", "content"}},
          {"properties",
           {{"role", {{"enum", {"system", "developer", "user", "assistant"}}}},
            {"content", {{"anyOf", {text(), parts}}}},
            {"name", {{"type", "string"}, {"pattern", "^[A-Za-z0-9_-]{1,64}$"}}}}},
          {"additionalProperties", false}};
}

// Returns the schemas of fields that are honoured.
const json& field_schemas() {
  static const json kSchemas = [] {
    const std::int64_t most_tokens = kTokensMax;
    json ids = list_of({{"type", "integer"}, {"minimum", 0}, {"maximum", 2147483647}});
    ids["minItems"] = 1;
    json messages = list_of(reference("Message"));
    messages["minItems"] = 1;
    json stop = {{"type", "string"}, {"minLength", 1}};
    return json{
        {"model", text()},
        {"messages", messages},
        {"prompt", {{"anyOf", {text(), list_of(text()), ids, list_of(ids)}}}},
        {"n", whole(1, kChoicesMax)},
        {"seed", nullable({{"type", "integer"}})},
        {"max_tokens", whole(0, most_tokens)},
        {"max_completion_tokens", whole(1, most_tokens)},
        {"stream", flag()},
        {"stream_options", nullable({{"type", "object"},
                                     {"properties", {{"include_usage", flag()}}},
                                     {"additionalProperties", false}})},
        {"stop", {{"anyOf", {stop, list_of(stop), {{"type", "null"}}}}}},
        {"temperature", number(0, 2)},
        {"top_p", number(0, 1)},
        {"top_k", whole(-1, 1 << 24)},
        {"min_p", number(0, 1)},
        {"typical_p", number(0, 1)},
        {"repetition_penalty", number(0.01, 100)},
        {"presence_penalty", number(-2, 2)},
        {"frequency_penalty", number(-2, 2)},
        {"logit_bias", nullable({{"type", "object"},
                                 {"propertyNames", {{"pattern", "^[0-9]{1,9}$"}}},
                                 {"additionalProperties",
                                  {{"type", "number"}, {"minimum", -100}, {"maximum", 100}}}})},
        {"top_logprobs", whole(0, 20)},
        {"echo", flag()},
        {"ignore_eos", flag()},
        {"cache_salt",
         nullable({{"type", "string"}, {"minLength", 1}, {"maxLength", kSaltBytesMax / 4}})},
        {"priority", whole(-9, 9)},
        {"add_generation_prompt", flag()},
        {"chat_template_kwargs", nullable({{"type", "object"}})},
    };
  }();
  return kSchemas;
}

json request_schema(AskKind kind) {
  json properties = json::object();
  for (const FieldRow& row : field_rows()) {
    const std::string name = row.name;
    if (use_of(row, kind) == FieldUse::kUnknown) continue;
    if (name == "logprobs") {
      properties[name] = kind == AskKind::kChat ? flag() : whole(0, 20);
    } else if (use_of(row, kind) == FieldUse::kHonoured) {
      properties[name] = field_schemas().at(name);
    } else {
      // Values that would have an effect with other servers are errors, which name the field.
      properties[name] = {{"type", "null"}};
    }
  }
  const char* const input = kind == AskKind::kChat ? "messages" : "prompt";
  return {{"type", "object"},
          {"required", {"model", input}},
          {"properties", properties},
          {"additionalProperties", false}};
}

json object_of(json properties) {
  json required = json::array();
  for (const auto& [name, schema] : properties.items()) required.push_back(name);
  return {{"type", "object"}, {"required", required}, {"properties", std::move(properties)}};
}

json usage_schema() {
  json count = {{"type", "integer"}, {"minimum", 0}};
  return object_of({{"prompt_tokens", count},
                    {"completion_tokens", count},
                    {"total_tokens", count},
                    {"prompt_tokens_details", object_of({{"cached_tokens", count}})}});
}

json answer_schema(const char* object, json choice) {
  choice["index"] = {{"type", "integer"}};
  choice["finish_reason"] = {{"enum", {"stop", "length"}}};
  choice["logprobs"] = nullable({{"type", "object"}});
  return object_of({{"id", text()},
                    {"object", {{"const", object}}},
                    {"created", {{"type", "integer"}}},
                    {"model", text()},
                    {"system_fingerprint", text()},
                    {"seed", {{"type", "integer"}}},
                    {"choices", list_of(object_of(std::move(choice)))},
                    {"usage", reference("Usage")}});
}

json schemas() {
  json ids = list_of({{"type", "integer"}, {"minimum", 0}});
  json model = object_of({{"id", text()},
                          {"object", {{"const", "model"}}},
                          {"created", {{"type", "integer"}}},
                          {"owned_by", text()},
                          {"max_model_len", {{"type", "integer"}}},
                          {"sha256", text()},
                          {"system_fingerprint", text()}});
  json error = object_of({{"message", text()},
                          {"type", text()},
                          {"param", nullable(text())},
                          {"code", nullable(text())}});
  json message = object_of({{"role", {{"const", "assistant"}}}, {"content", text()}});
  return {
      {"Message", message_schema()},
      {"ChatRequest", request_schema(AskKind::kChat)},
      {"CompletionRequest", request_schema(AskKind::kCompletion)},
      {"Usage", usage_schema()},
      {"ChatCompletion", answer_schema("chat.completion", {{"message", message}})},
      {"Completion", answer_schema("text_completion", {{"text", text()}})},
      {"RenderedChat", object_of({{"object", {{"const", "chat.completion.render"}}},
                                  {"model", text()},
                                  {"prompt", text()},
                                  {"prompt_token_ids", ids}})},
      {"TokenizeRequest",
       {{"type", "object"},
        {"required", {"model", "prompt"}},
        {"properties",
         {{"model", text()}, {"prompt", text()}, {"add_special_tokens", {{"type", "boolean"}}}}},
        {"additionalProperties", false}}},
      {"TokenizedText", object_of({{"count", {{"type", "integer"}}},
                                   {"max_model_len", {{"type", "integer"}}},
                                   {"tokens", ids}})},
      {"DetokenizeRequest",
       {{"type", "object"},
        {"required", {"model", "tokens"}},
        {"properties", {{"model", text()}, {"tokens", ids}}},
        {"additionalProperties", false}}},
      {"DetokenizedText", object_of({{"prompt", text()}})},
      {"Model", model},
      {"ModelList",
       object_of({{"object", {{"const", "list"}}}, {"data", list_of(reference("Model"))}})},
      {"OpenApi", {{"type", "object"}}},
      {"Health", object_of({{"status", text()}})},
      {"Version", object_of({{"version", text()}, {"arithmetic", {{"type", "integer"}}}})},
      {"Error", object_of({{"error", error}})}};
}

json response_of(const Route& route, int status) {
  json response = {{"description", std::string(reason_phrase(status))}};
  if (status == 204) return response;
  const std::string schema = status == 200 ? route.response_schema : "Error";
  if (schema.empty()) {
    response["content"]["text/plain"] = {{"schema", text()}};
    return response;
  }
  if (schema == "Events") {
    response["content"]["text/event-stream"] = {{"schema", text()}};
    return response;
  }
  response["content"]["application/json"] = {{"schema", reference(schema)}};
  const bool streams = status == 200 && (schema == "ChatCompletion" || schema == "Completion");
  if (streams) response["content"]["text/event-stream"] = {{"schema", text()}};
  return response;
}

json operation_of(const Route& route) {
  json operation = {{"summary", route.summary}, {"responses", json::object()}};
  std::set<int> statuses(route.statuses.begin(), route.statuses.end());
  statuses.insert(common_statuses().begin(), common_statuses().end());
  for (const int status : statuses) {
    operation["responses"][std::to_string(status)] = response_of(route, status);
  }
  if (*route.request_schema != '\0') {
    operation["requestBody"] = {
        {"required", true},
        {"content", {{"application/json", {{"schema", reference(route.request_schema)}}}}}};
  }
  operation["security"] = json::array();
  if (route.role != Role::kNone) operation["security"].push_back({{"key", json::array()}});
  if (std::string(route.path).find("{id}") != std::string::npos) {
    operation["parameters"] = {
        {{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", text()}}};
  }
  return operation;
}

}  // namespace

std::string openapi_json(const std::string& version) {
  json paths = json::object();
  for (const Route& route : routes()) {
    const std::string method = route.method == std::string("GET") ? "get" : "post";
    paths[route.path][method] = operation_of(route);
  }
  return json{{"openapi", "3.1.0"},
              {"info", {{"title", "Troupe"}, {"version", version}}},
              {"paths", paths},
              {"components",
               {{"schemas", schemas()},
                {"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}}}
      .dump();
}

}  // namespace troupe::http
