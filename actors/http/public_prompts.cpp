#include <nlohmann/json.hpp>

#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/public_prompts.h>

namespace troupe::http {
namespace {

using Ids = std::vector<model::TokenId>;

Status refused(const ServedModelCard& model, const SharedPrompt& prompt, const std::string& why) {
  return Status(Code::kInvalidArgument,
                prompt.name + " cannot be used with the model " + model.id + ": " + why);
}

Result<Ids> plain_ids(const ServedModelCard& model, const SharedPrompt& prompt) {
  if (prompt.text.empty()) return refused(model, prompt, "it is empty");
  model::EncodeOptions options;
  options.tokens_max = model.context_max;
  auto ids = model.tokenizer->encode(prompt.text, options);
  if (ids.code() == Code::kResourceExhausted || (ids && ids->size() >= model.context_max)) {
    return refused(model, prompt,
                   "its " + std::to_string(prompt.text.size()) +
                       " bytes leave no room in the context of " +
                       std::to_string(model.context_max) + " tokens");
  }
  if (!ids) return refused(model, prompt, ids.message());
  return ids;
}

Result<Ids> chat_ids(const ServedModelCard& model, const SharedPrompt& shared,
                     const char* question) {
  GenerationAsk ask;
  ask.messages_json = nlohmann::json{{{"role", "system"}, {"content", shared.text}},
                                     {{"role", "user"}, {"content", question}}}
                          .dump();
  ChatPrompt prompt;
  if (const auto error = render_chat(model, ask, &prompt)) {
    return refused(model, shared, error->message);
  }
  return std::move(prompt.ids);
}

}  // namespace

Result<std::vector<Ids>> public_prompts(const ServedModelCard& model,
                                        const std::vector<SharedPrompt>& shared) {
  std::vector<Ids> prompts;
  for (const SharedPrompt& prompt : shared) {
    TROUPE_ASSIGN_OR_RETURN(Ids plain, plain_ids(model, prompt));
    prompts.push_back(std::move(plain));
    if (!model.chat_template) continue;
    // Chats with different questions begin alike up to the point where the question has an
    // influence.
    TROUPE_ASSIGN_OR_RETURN(Ids one, chat_ids(model, prompt, "a"));
    TROUPE_ASSIGN_OR_RETURN(const Ids other, chat_ids(model, prompt, "Z"));
    one.resize(common_prefix(one, other));
    prompts.push_back(std::move(one));
  }
  return prompts;
}

}  // namespace troupe::http
