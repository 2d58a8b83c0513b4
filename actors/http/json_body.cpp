#include <limits>

#include <nlohmann/json.hpp>

#include <troupe/actors/http/json_body.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::http {

std::optional<ApiError> parse_body(std::string_view body, nlohmann::json* fields) {
  constexpr JsonLimits kLimits = {std::numeric_limits<std::size_t>::max(), 32,
                                  "send a JSON object"};
  Result<nlohmann::json> parsed = parse_json(body, "the request's body", kLimits);
  if (!parsed) return bad_request(parsed.message(), "", "invalid_json");
  if (!parsed->is_object()) {
    return bad_request(
        std::string("the request's body is a JSON ") + parsed->type_name() + ", expected an object",
        "", "invalid_json");
  }
  *fields = std::move(*parsed);
  return std::nullopt;
}

}  // namespace troupe::http
