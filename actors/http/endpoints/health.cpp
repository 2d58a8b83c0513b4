#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {

// Says that the HTTP thread is alive; /ready says whether answers can be had.
void get_health(Service&, const ExchangePtr& exchange) {
  Response response;
  response.body = "{\"status\":\"ok\"}";
  exchange->responder->respond(std::move(response));
}

}  // namespace troupe::http
