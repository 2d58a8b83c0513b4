#include <nlohmann/json.hpp>

#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/json_body.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/service.h>
#include <troupe/model/tokenizer/detokenizer.h>

namespace troupe::http {
namespace {

using nlohmann::json;
using Error = std::optional<ApiError>;

// Turns {"model", "tokens"} into {"prompt"}.
Error detokenize(const ServedModels& models, const std::string& body, Response* response) {
  json fields;
  if (Error error = parse_body(body, &fields)) return error;
  for (const auto& [name, value] : fields.items()) {
    if (name == "model" || name == "tokens") continue;
    return bad_request("the server knows no such field; leave it out", name, "unknown_parameter");
  }
  const std::string id = fields.contains("model") && fields["model"].is_string()
                             ? fields["model"].get<std::string>()
                             : std::string();
  const ServedModelPtr model = models.find(id);
  if (!model) return unknown_model(id);
  if (!fields.contains("tokens") || !fields["tokens"].is_array()) {
    return bad_request("tokens must be a list of token ids", "tokens", "invalid_type");
  }
  model::Detokenizer detokenizer(*model->tokenizer, /*with_special=*/true);
  std::string text;
  for (const json& token : fields["tokens"]) {
    const bool whole =
        token.is_number_unsigned() && token.get<std::uint64_t>() < model->tokenizer->vocabulary();
    if (!whole) {
      return bad_request(
          "a token is not an id below " + std::to_string(model->tokenizer->vocabulary()), "tokens",
          "invalid_value");
    }
    auto piece = detokenizer.push(token.get<model::TokenId>());
    if (!piece) return api_error(piece.status());
    text += *piece;
  }
  text += detokenizer.finish();
  response->body = "{\"prompt\":";
  append_json_string(text, &response->body);
  response->body += '}';
  return std::nullopt;
}

}  // namespace

void detokenize_ids(Service& service, const ExchangePtr& exchange) {
  answer_in_pool(service, exchange, [&service, exchange](Response* response) {
    return detokenize(service.models, exchange->request.body, response);
  });
}

}  // namespace troupe::http
