#pragma once

#include <memory>
#include <optional>
#include <string>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/served_models.h>

// Turns the body of a request into token ids that fit the model. Runs on a thread of the pool;
// pure.

namespace troupe::http {

// Fills in `prepared`, with max_tokens set. Returns the error that the client gets, or nothing.
std::optional<ApiError> prepare(const ServedModels& models, AskKind kind, const std::string& body,
                                PreparedAsk* prepared);
// Returns the 404 for an id that no model has.
ApiError unknown_model(const std::string& id);

struct ChatPrompt {
  std::string text;  // what the template made
  std::vector<model::TokenId> ids;
};
// Renders and tokenizes the messages of a chat request, for which markup in them is plain text.
std::optional<ApiError> render_chat(const ServedModelCard& model, const GenerationAsk& ask,
                                    ChatPrompt* prompt);

}  // namespace troupe::http
