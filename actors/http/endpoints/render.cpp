#include <nlohmann/json.hpp>

#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/parse_ask.h>
#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {
namespace {

// Turns the body of a chat request into the prompt that it becomes. Nothing is computed.
std::optional<ApiError> render(const ServedModels& models, const std::string& body,
                               Response* response) {
  GenerationAsk ask;
  if (auto error = parse_ask(AskKind::kChat, body, &ask)) return error;
  const ServedModelPtr model = models.find(ask.model);
  if (!model) return unknown_model(ask.model);
  ChatPrompt prompt;
  if (auto error = render_chat(*model, ask, &prompt)) return error;
  response->body = "{\"object\":\"chat.completion.render\",\"model\":";
  append_json_string(model->id, &response->body);
  response->body += ",\"prompt\":";
  append_json_string(prompt.text, &response->body);
  response->body += ",\"prompt_token_ids\":" + nlohmann::json(prompt.ids).dump() + "}";
  return std::nullopt;
}

}  // namespace

void render_chat_prompt(Service& service, const ExchangePtr& exchange) {
  answer_in_pool(service, exchange, [&service, exchange](Response* response) {
    return render(service.models, exchange->request.body, response);
  });
}

}  // namespace troupe::http
