#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/openapi.h>
#include <troupe/actors/http/service.h>
#include <troupe/runtime/version.h>

namespace troupe::http {

void get_openapi(Service& service, const ExchangePtr& exchange) {
  answer_in_pool(service, exchange, [](Response* response) -> std::optional<ApiError> {
    static const std::string kPage = openapi_json(program_version());
    response->body = kPage;
    return std::nullopt;
  });
}

}  // namespace troupe::http
