#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {

void get_ready(Service& service, const ExchangePtr& exchange) {
  const std::string why = why_not_ready(service);
  if (!why.empty()) {
    return exchange->responder->respond(error_response(overloaded(why, 1)));
  }
  Response response;
  response.body = "{\"status\":\"ready\"}";
  exchange->responder->respond(std::move(response));
}

}  // namespace troupe::http
