#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/json_body.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/parse_ask.h>
#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {
namespace {

using nlohmann::json;
using Error = std::optional<ApiError>;

Error missing_prompt() {
  return bad_request("give the text as prompt, or messages", "prompt",
                     "missing_required_parameter");
}

// Reads {"model", "prompt", "add_special_tokens"}, or the fields of a chat request.
Error tokenize(const ServedModels& models, const std::string& body, Response* response) {
  json fields;
  if (Error error = parse_body(body, &fields)) return error;
  ServedModelPtr model;
  std::vector<model::TokenId> ids;
  if (fields.contains("messages")) {
    GenerationAsk ask;
    if (Error error = parse_ask(AskKind::kChat, body, &ask)) return error;
    model = models.find(ask.model);
    if (!model) return unknown_model(ask.model);
    ChatPrompt prompt;
    if (Error error = render_chat(*model, ask, &prompt)) return error;
    ids = std::move(prompt.ids);
  } else {
    for (const auto& [name, value] : fields.items()) {
      const bool known = name == "model" || name == "prompt" || name == "add_special_tokens";
      if (!known)
        return bad_request("the server knows no such field; leave it out", name,
                           "unknown_parameter");
    }
    const std::string id = fields.contains("model") && fields["model"].is_string()
                               ? fields["model"].get<std::string>()
                               : std::string();
    model = models.find(id);
    if (!model) return unknown_model(id);
    if (!fields.contains("prompt") || !fields["prompt"].is_string()) return missing_prompt();
    const json special = fields.value("add_special_tokens", json(true));
    if (!special.is_boolean()) {
      return bad_request("add_special_tokens must be true or false", "add_special_tokens",
                         "invalid_type");
    }
    model::EncodeOptions options;
    options.add_special = special.get<bool>();
    auto encoded = model->tokenizer->encode(fields["prompt"].get<std::string>(), options);
    if (!encoded) return api_error(encoded.status());
    ids = std::move(*encoded);
  }
  response->body =
      json{{"count", ids.size()}, {"max_model_len", model->context_max}, {"tokens", ids}}.dump();
  return std::nullopt;
}

}  // namespace

void tokenize_text(Service& service, const ExchangePtr& exchange) {
  answer_in_pool(service, exchange, [&service, exchange](Response* response) {
    return tokenize(service.models, exchange->request.body, response);
  });
}

}  // namespace troupe::http
