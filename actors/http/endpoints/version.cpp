#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/service.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/version.h>

namespace troupe::http {

void get_version(Service&, const ExchangePtr& exchange) {
  Response response;
  response.body = "{\"version\":";
  append_json_string(program_version(), &response.body);
  response.body += ",\"arithmetic\":" + std::to_string(kArithmeticVersion) + "}";
  exchange->responder->respond(std::move(response));
}

}  // namespace troupe::http
