#include <algorithm>

#include <troupe/actors/http/access.h>
#include <troupe/actors/http/random_id.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

constexpr std::size_t kRequestIdMax = 128;

ApiError refused(int status, std::string message, std::string code) {
  ApiError error = bad_request(std::move(message), "", std::move(code));
  error.status = status;
  return error;
}

bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Removes the port: "localhost:8080" -> "localhost", "[::1]:8080" -> "[::1]". Returns false if the
// port is not a number.
bool without_port(std::string_view host, std::string_view* name) {
  const std::size_t from = host.starts_with('[') ? host.find(']') : 0;
  if (from == std::string_view::npos) return false;
  const std::size_t colon = std::min(host.find(':', from), host.size());
  *name = host.substr(0, colon);
  return colon == host.size() || all_digits(host.substr(colon + 1));
}

bool is_allowed_origin(const ServeOptions& options, std::string_view origin) {
  return std::find(options.allowed_origins.begin(), options.allowed_origins.end(), origin) !=
         options.allowed_origins.end();
}

std::string_view key_of(const Request& request) {
  const std::string_view authorization = request.header("Authorization");
  constexpr std::string_view kBearer = "Bearer ";
  if (same_name(authorization.substr(0, kBearer.size()), kBearer)) {
    return authorization.substr(kBearer.size());
  }
  return request.header("x-api-key");
}

}  // namespace

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  return host.starts_with("127.") && std::all_of(host.begin(), host.end(), [](char c) {
           return c == '.' || (c >= '0' && c <= '9');
         });
}

std::optional<ApiError> check_host(const ServeOptions& options, std::string_view host) {
  if (!is_loopback(options.host) && options.allowed_hosts.empty()) return std::nullopt;
  if (host.empty()) return std::nullopt;  // HTTP/1.0
  std::string_view name;
  const bool whole = without_port(host, &name);
  bool allowed = whole && (same_name(name, "localhost") || name == "127.0.0.1" || name == "[::1]");
  for (const std::string& one : options.allowed_hosts) {
    allowed = allowed || (whole && (same_name(name, one) || same_name(host, one)));
  }
  if (allowed) return std::nullopt;
  return refused(403,
                 "the server does not answer for the host " + in_quotes(host) +
                     "; start it with --allowed-host if it should",
                 "host_not_allowed");
}

std::optional<ApiError> check_origin(const ServeOptions& options, const Request& request) {
  const std::string_view origin = request.header("Origin");
  if (request.count("Origin") == 0 || is_allowed_origin(options, origin)) return std::nullopt;
  // The origin of the pages that this server itself has sent.
  const std::string own =
      (options.tls_cert.empty() ? "http://" : "https://") + std::string(request.header("Host"));
  if (origin == own) return std::nullopt;
  return refused(403,
                 "pages of " + in_quotes(origin) +
                     " may not use this server; start it with --allowed-origin if they should",
                 "origin_not_allowed");
}

std::optional<ApiError> check_key(const ApiKeys* keys, const Request& request, Role route,
                                  std::string* name) {
  if (route == Role::kNone || keys == nullptr) return std::nullopt;
  const std::string_view given = key_of(request);
  const ApiKey* key = given.empty() ? nullptr : keys->find(given);
  if (key == nullptr) {
    return refused(401,
                   given.empty() ? "the request has no API key; send one as `Authorization: Bearer "
                                   "KEY`"
                                 : "the API key is not one of this server's",
                   "invalid_api_key");
  }
  if (!may_use(key->role, route)) {
    return refused(403, "the API key " + in_quotes(key->name) + " may not use this route",
                   "insufficient_permissions");
  }
  *name = key->name;
  return std::nullopt;
}

std::optional<ApiError> check_content_type(const Request& request) {
  std::string_view type = request.header("Content-Type");
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  if (same_name(type, "application/json")) return std::nullopt;
  return refused(415,
                 "the body's Content-Type is " + in_quotes(type) + ", expected application/json",
                 "unsupported_media_type");
}

std::vector<Header> cors_headers(const ServeOptions& options, const Request& request) {
  const std::string origin(request.header("Origin"));
  if (options.allowed_origins.empty()) return {};
  std::vector<Header> headers = {{"Vary", "Origin"}};
  if (!is_allowed_origin(options, origin)) return headers;
  headers.push_back({"Access-Control-Allow-Origin", origin});
  headers.push_back({"Access-Control-Expose-Headers", "X-Request-Id, Retry-After, retry-after-ms"});
  if (request.method == "OPTIONS") {
    headers.push_back({"Access-Control-Allow-Methods", "GET, POST, OPTIONS"});
    headers.push_back({"Access-Control-Allow-Headers",
                       "Authorization, Content-Type, X-Api-Key, X-Request-Id, Last-Event-ID"});
    headers.push_back({"Access-Control-Max-Age", "600"});
  }
  return headers;
}

std::string request_id_of(const Request& request) {
  const std::string_view given = request.header("X-Request-Id");
  const bool plain = !given.empty() && given.size() <= kRequestIdMax &&
                     std::all_of(given.begin(), given.end(),
                                 [](char c) { return c > 0x20 && c < 0x7F && c != '"'; });
  return plain ? std::string(given) : "req-" + random_id();
}

}  // namespace troupe::http
