#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/routes.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {
namespace {

void append_model(const ServedModelCard& model, std::string* out) {
  *out += "{\"id\":";
  append_json_string(model.id, out);
  *out += ",\"object\":\"model\",\"created\":" + std::to_string(model.created_s) +
          ",\"owned_by\":\"troupe\",\"max_model_len\":" + std::to_string(model.context_max) +
          ",\"sha256\":\"" + model.sha256 + "\",\"system_fingerprint\":\"" + model.fingerprint +
          "\"}";
}

}  // namespace

void list_models(Service& service, const ExchangePtr& exchange) {
  Response response;
  response.body = "{\"object\":\"list\",\"data\":[";
  bool first = true;
  for (const ServedModelPtr& model : service.models.all()) {
    if (!first) response.body += ',';
    append_model(*model, &response.body);
    first = false;
  }
  response.body += "]}";
  exchange->responder->respond(std::move(response));
}

void get_model(Service& service, const ExchangePtr& exchange) {
  const std::string id(path_id(*exchange->route, exchange->request.path));
  const ServedModelPtr model = service.models.find(id);
  if (!model) return exchange->responder->respond(error_response(unknown_model(id)));
  Response response;
  append_model(*model, &response.body);
  exchange->responder->respond(std::move(response));
}

}  // namespace troupe::http
