#include <algorithm>

#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/routes.h>

namespace troupe::http {
namespace {

const std::vector<Route> kTable = {
    {"/", "GET", Role::kNone, {200}, "Say what this server is", "", "", get_root},
    {"/health",
     "GET",
     Role::kNone,
     {200},
     "Say that the server is alive",
     "",
     "Health",
     get_health},
    {"/ready",
     "GET",
     Role::kNone,
     {200, 503},
     "Say whether answers can be had now",
     "",
     "Health",
     get_ready},
    {"/version",
     "GET",
     Role::kNone,
     {200},
     "Say which version this is",
     "",
     "Version",
     get_version},
    {"/v1/models", "GET", Role::kApi, {200}, "List the models", "", "ModelList", list_models},
    {"/v1/models/{id}", "GET", Role::kApi, {200, 404}, "Describe a model", "", "Model", get_model},
    {"/v1/chat/completions",
     "POST",
     Role::kApi,
     {200, 400, 404, 429, 503, 504},
     "Answer a conversation",
     "ChatRequest",
     "ChatCompletion",
     create_chat_completion},
    {"/v1/completions",
     "POST",
     Role::kApi,
     {200, 400, 404, 429, 503, 504},
     "Continue a text",
     "CompletionRequest",
     "Completion",
     create_completion},
    {"/v1/chat/completions/render",
     "POST",
     Role::kApi,
     {200, 400, 404, 429, 503},
     "Show the prompt that a conversation becomes",
     "ChatRequest",
     "RenderedChat",
     render_chat_prompt},
    {"/v1/streams/{id}",
     "GET",
     Role::kApi,
     {200, 400, 404, 429, 503},
     "Take up a stream that broke",
     "",
     "Events",
     get_stream},
    {"/tokenize",
     "POST",
     Role::kApi,
     {200, 400, 404, 429, 503},
     "Turn text into token ids",
     "TokenizeRequest",
     "TokenizedText",
     tokenize_text},
    {"/detokenize",
     "POST",
     Role::kApi,
     {200, 400, 404, 429, 503},
     "Turn token ids into text",
     "DetokenizeRequest",
     "DetokenizedText",
     detokenize_ids},
    {"/openapi.json",
     "GET",
     Role::kNone,
     {200, 503},
     "Describe the API",
     "",
     "OpenApi",
     get_openapi},
    {"/metrics", "GET", Role::kMetrics, {200}, "Give counters for Prometheus", "", "", get_metrics},
};

constexpr std::string_view kId = "{id}";

bool fits(const Route& route, std::string_view path) {
  const std::string_view pattern = route.path;
  if (!pattern.ends_with(kId)) return pattern == path;
  return path.size() > pattern.size() - kId.size() &&
         path.substr(0, pattern.size() - kId.size()) ==
             pattern.substr(0, pattern.size() - kId.size());
}

}  // namespace

std::span<const Route> routes() { return kTable; }

RouteMatch find_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : kTable) {
    if (!fits(route, path)) continue;
    const bool get = std::string_view(route.method) == "GET";
    match.allow += std::string(match.allow.empty() ? "" : ", ") + route.method;
    if (get) match.allow += ", HEAD";
    if (method == route.method || (get && method == "HEAD")) match.route = &route;
  }
  if (!match.allow.empty()) match.allow += ", OPTIONS";
  return match;
}

std::string_view path_id(const Route& route, std::string_view path) {
  return path.substr(std::string_view(route.path).size() - kId.size());
}

std::span<const int> common_statuses() {
  static constexpr int kStatuses[] = {400, 401, 403, 404, 405, 408, 413, 415,
                                      417, 421, 429, 431, 500, 501, 503, 505};
  return kStatuses;
}

}  // namespace troupe::http
