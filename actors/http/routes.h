#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/actors/http/exchange.h>

// The route table: a path and method without a row does not exist. Pure, except for the endpoints
// that the rows name.

namespace troupe::http {

struct Service;  // service.h

enum class Role {
  kNone,     // anyone
  kApi,      // any API key
  kMetrics,  // a key with the role metrics or admin
  kAdmin,    // a key with the role admin
};

// Answers the exchange, now or later. Called on the HTTP thread; must not compute.
using Endpoint = void (*)(Service& service, const ExchangePtr& exchange);

struct Route {
  const char* path;  // "{id}" at its end stands for any text that is not empty
  const char* method;
  Role role;
  std::vector<int> statuses;  // that the endpoint itself may give
  const char* summary;
  const char* request_schema;  // a name in openapi.cpp; "" for no body
  const char* response_schema;
  Endpoint endpoint;
};

std::span<const Route> routes();

// What the table has for a request.
struct RouteMatch {
  const Route* route = nullptr;  // of the path and method; a GET route answers HEAD too
  std::string allow;             // the methods of the path, "GET, HEAD, OPTIONS"; "": no such path
};
RouteMatch find_route(std::string_view method, std::string_view path);
// Returns the text in the place of "{id}".
std::string_view path_id(const Route& route, std::string_view path);

// Returns the statuses that the server may give to any request before an endpoint sees it.
std::span<const int> common_statuses();

}  // namespace troupe::http
