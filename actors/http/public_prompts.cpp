#include <nlohmann/json.hpp>

#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/public_prompts.h>

namespace troupe::http {
namespace {

using Ids = std::vector<model::TokenId>;

Status refused(const ServedModelCard& model, const std::string& why) {
  return Status(Code::kInvalidArgument,
                "a shared prompt cannot be used with the model " + model.id + ": " + why);
}

Result<Ids> chat_ids(const ServedModelCard& model, const std::string& text, const char* question) {
  GenerationAsk ask;
  ask.messages_json = nlohmann::json{{{"role", "system"}, {"content", text}},
                                     {{"role", "user"}, {"content", question}}}
                          .dump();
  ChatPrompt prompt;
  if (const auto error = render_chat(model, ask, &prompt)) return refused(model, error->message);
  return std::move(prompt.ids);
}

}  // namespace

Result<std::vector<Ids>> public_prompts(const ServedModelCard& model,
                                        const std::vector<std::string>& texts) {
  std::vector<Ids> prompts;
  for (const std::string& text : texts) {
    if (text.empty()) return refused(model, "it is empty");
    model::EncodeOptions options;
    options.tokens_max = model.context_max;
    auto plain = model.tokenizer->encode(text, options);
    if (plain.code() == Code::kResourceExhausted || (plain && plain->size() >= model.context_max)) {
      return refused(model, "its " + std::to_string(text.size()) +
                                " bytes leave no room in the context of " +
                                std::to_string(model.context_max) + " tokens");
    }
    if (!plain) return plain.status();
    prompts.push_back(std::move(*plain));
    if (!model.chat_template) continue;
    // Two questions have nothing in common but what the system message makes of the prompt.
    TROUPE_ASSIGN_OR_RETURN(Ids one, chat_ids(model, text, "a"));
    TROUPE_ASSIGN_OR_RETURN(const Ids other, chat_ids(model, text, "Z"));
    one.resize(common_prefix(one, other));
    prompts.push_back(std::move(one));
  }
  return prompts;
}

}  // namespace troupe::http
