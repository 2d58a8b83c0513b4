#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {

void get_root(Service&, const ExchangePtr& exchange) {
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.body = "troupe: the API is below /v1, its description at /openapi.json\n";
  exchange->responder->respond(std::move(response));
}

}  // namespace troupe::http
