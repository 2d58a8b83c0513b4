#pragma once

#include <string>

// The description of the API that /openapi.json gives: OpenAPI 3.1, made from the route table and
// the table of fields. Pure.

namespace troupe::http {

std::string openapi_json(const std::string& version);

}  // namespace troupe::http
