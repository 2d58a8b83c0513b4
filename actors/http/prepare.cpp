#include <variant>

#include <troupe/actors/http/parse_ask.h>
#include <troupe/actors/http/prepare.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/model/chat/prompt.h>
#include <troupe/model/tokenizer/detokenizer.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

using Error = std::optional<ApiError>;

// The legacy endpoint's own default.
constexpr std::uint64_t kCompletionTokens = 16;

ApiError with_param(const Status& status, const char* param) {
  ApiError error = api_error(status);
  error.param = param;
  return error;
}

// Returns the beginning of the message about a prompt that is too long: these are OpenAI's words,
// by which clients recognize it.
std::string longest_context(std::uint64_t tokens) {
  return "This model's maximum context length is " + std::to_string(tokens) + " tokens";
}

// Stops reading a text that is far too long for the model as soon as that is known.
Error encode(const ServedModelCard& model, const std::string& text, model::EncodeOptions options,
             const char* param, std::vector<model::TokenId>* ids) {
  options.tokens_max = model::countable_tokens(model.context_max);
  auto encoded = model.tokenizer->encode(text, options);
  if (encoded.code() == Code::kResourceExhausted) {
    return bad_request(longest_context(model.context_max) + ", and " +
                           model::far_too_long(text.size(), model.context_max).message(),
                       param, "context_length_exceeded");
  }
  if (!encoded) return with_param(encoded.status(), param);
  *ids = std::move(*encoded);
  return std::nullopt;
}

Error check_ids(const ServedModelCard& model, const std::vector<model::TokenId>& ids,
                const char* param) {
  for (const model::TokenId id : ids) {
    if (static_cast<std::size_t>(id) < model.tokenizer->vocabulary()) continue;
    return bad_request("token " + std::to_string(id) + " is outside the vocabulary of " +
                           std::to_string(model.tokenizer->vocabulary()) + " tokens",
                       param, "invalid_value");
  }
  return std::nullopt;
}

Error read_prompt(const ServedModelCard& model, const PromptForm& form, bool echo,
                  PreparedAsk* prepared) {
  if (const auto* text = std::get_if<std::string>(&form)) {
    std::vector<model::TokenId> ids;
    if (Error error = encode(model, *text, {}, "prompt", &ids)) return error;
    prepared->prompts.push_back(std::move(ids));
    prepared->prompt_texts.push_back(echo ? *text : std::string());
    return std::nullopt;
  }
  const auto& ids = std::get<std::vector<model::TokenId>>(form);
  if (Error error = check_ids(model, ids, "prompt")) return error;
  std::string text;
  if (echo) {
    model::Detokenizer detokenizer(*model.tokenizer, /*with_special=*/true);
    for (const model::TokenId id : ids) {
      const auto piece = detokenizer.push(id);
      if (!piece) return with_param(piece.status(), "prompt");
      text += *piece;
    }
    text += detokenizer.finish();
  }
  prepared->prompts.push_back(ids);
  prepared->prompt_texts.push_back(std::move(text));
  return std::nullopt;
}

ApiError too_long(std::uint64_t context, std::uint64_t prompt, std::uint64_t answer,
                  const char* param) {
  std::string message = longest_context(context) + ", and the request takes " +
                        std::to_string(prompt + answer) + " (" + std::to_string(prompt) +
                        " in the prompt, " + std::to_string(answer) +
                        " for the answer); shorten the prompt or ask for fewer tokens";
  return bad_request(std::move(message), param, "context_length_exceeded");
}

// Checks that prompt and answer fit the context. A prompt is never cut, and max_tokens is never
// less than what was asked for.
Error check_lengths(PreparedAsk* prepared) {
  GenerationAsk& ask = prepared->ask;
  const char* const param = ask.kind == AskKind::kChat ? "messages" : "prompt";
  const std::uint64_t context = prepared->model->context_max;
  std::uint64_t longest = 0;
  for (const auto& ids : prepared->prompts) {
    if (ids.empty()) {
      return bad_request("the prompt has no tokens; give at least one", param, "invalid_value");
    }
    longest = std::max<std::uint64_t>(longest, ids.size());
  }
  const std::uint64_t least = ask.max_tokens == 0 ? 0 : 1;
  if (longest + least > context) return too_long(context, longest, least, param);
  if (!ask.max_tokens) {
    ask.max_tokens = ask.kind == AskKind::kChat ? context - longest
                                                : std::min(kCompletionTokens, context - longest);
  }
  if (longest + *ask.max_tokens > context) {
    return too_long(context, longest, *ask.max_tokens, param);
  }
  return std::nullopt;
}

// Checks the number of scores: they are kept until the prompt is computed, and then written as one
// answer.
Error check_scores(const PreparedAsk& prepared) {
  const GenerationAsk& ask = prepared.ask;
  if (!ask.scores_prompt()) return std::nullopt;
  const std::size_t each = ask.reported() + 1;
  std::size_t all = 0;
  for (const auto& ids : prepared.prompts) {
    if (each * (ids.size() - 1) > actors::kPromptLogprobsMax) {
      return bad_request("echo with logprobs would report " +
                             std::to_string(each * (ids.size() - 1)) +
                             " log-probabilities of a prompt, more than " +
                             std::to_string(actors::kPromptLogprobsMax) +
                             "; ask for fewer logprobs or shorten the prompt",
                         "logprobs", "invalid_value");
    }
    all += ask.n * each * ids.size();
  }
  if (all <= kScoresMax) return std::nullopt;
  return bad_request("echo with logprobs would report " + std::to_string(all) +
                         " log-probabilities of the prompts, more than " +
                         std::to_string(kScoresMax) + "; send fewer prompts in one request",
                     "logprobs", "invalid_value");
}

Error check_sampling(const PreparedAsk& prepared) {
  const Status valid = model::validate(prepared.ask.sampling);
  if (!valid) return api_error(valid);
  std::vector<model::TokenId> ids;
  for (const model::LogitBias& bias : prepared.ask.sampling.logit_bias) ids.push_back(bias.id);
  return check_ids(*prepared.model, ids, "logit_bias");
}

}  // namespace

ApiError unknown_model(const std::string& id) {
  ApiError error = bad_request(
      "the server has no model " + in_quotes(id) + "; GET /v1/models lists those that it has",
      "model", "model_not_found");
  error.status = 404;
  return error;
}

std::optional<ApiError> render_chat(const ServedModelCard& model, const GenerationAsk& ask,
                                    ChatPrompt* prompt) {
  if (!model.chat_template) {
    return bad_request(
        "the model " + in_quotes(model.id) + " has no chat template; use /v1/completions", "model",
        "no_chat_template");
  }
  model::ChatContext context = model::chat_context(*model.tokenizer);
  context.add_generation_prompt = ask.add_generation_prompt;
  context.variables = ask.variables_json;
  context.now = model::local_time();
  auto chat = model.chat_template->render_json(ask.messages_json, context);
  if (!chat) return with_param(chat.status(), "messages");
  model::EncodeOptions options;
  options.add_special = false;  // the template writes BOS itself if the model wants one
  options.plain = std::move(chat->foreign);
  if (Error error = encode(model, chat->text, options, "messages", &prompt->ids)) return error;
  prompt->text = std::move(chat->text);
  return std::nullopt;
}

std::optional<ApiError> prepare(const ServedModels& models, AskKind kind, const std::string& body,
                                PreparedAsk* prepared) {
  GenerationAsk& ask = prepared->ask;
  if (Error error = parse_ask(kind, body, &ask)) return error;
  prepared->model = models.find(ask.model);
  if (!prepared->model) return unknown_model(ask.model);
  if (kind == AskKind::kChat) {
    ChatPrompt prompt;
    if (Error error = render_chat(*prepared->model, ask, &prompt)) return error;
    prepared->prompts.push_back(std::move(prompt.ids));
    prepared->prompt_texts.emplace_back();
  } else {
    for (const PromptForm& form : ask.prompts) {
      if (Error error = read_prompt(*prepared->model, form, ask.echo, prepared)) return error;
    }
  }
  for (const auto& ids : prepared->prompts) {
    prepared->public_ids.push_back(public_ids(*prepared->model, ids));
  }
  if (Error error = check_sampling(*prepared)) return error;
  if (Error error = check_lengths(prepared)) return error;
  return check_scores(*prepared);
}

}  // namespace troupe::http
