#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/api_keys.h>
#include <troupe/actors/http/message.h>
#include <troupe/actors/http/routes.h>
#include <troupe/actors/troupe/serve.h>

// Decides who may ask for what, by the Host and Origin fields, keys, and the form of the body.
// Pure.

namespace troupe::http {

// True for 127.0.0.0/8, ::1 and "localhost".
bool is_loopback(std::string_view host);

// Refuses a page of another origin, or one whose name was rebound to this machine.
std::optional<ApiError> check_host(const ServeOptions& options, std::string_view host);
std::optional<ApiError> check_origin(const ServeOptions& options, const Request& request);

// `keys` is null if the server asks for none. On success `name` is the key's.
std::optional<ApiError> check_key(const ApiKeys* keys, const Request& request, Role route,
                                  std::string* name);
// Refuses a body that is declared as anything but JSON, so that no web form can send one.
std::optional<ApiError> check_content_type(const Request& request);

// Returns the fields that let a page of an allowed origin read the answer; empty for other origins.
std::vector<Header> cors_headers(const ServeOptions& options, const Request& request);

// Returns the id that the client gave, if it is plain, or else a new one.
std::string request_id_of(const Request& request);

}  // namespace troupe::http
