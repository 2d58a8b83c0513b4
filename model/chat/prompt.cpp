#include <utility>

#include <troupe/model/chat/prompt.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Status check_text(const std::string& name, const std::string& text) {
  const std::size_t valid = utf8_valid_prefix(text);
  if (valid == text.size()) return Status::ok();
  return Status(Code::kInvalidArgument, name + " is not UTF-8: its byte " + std::to_string(valid) +
                                            " is not part of a character");
}

// Checks the texts before the template is filled in, so that an error names a byte of the text that
// was given.
Status check_texts(const Prompt& prompt) {
  TROUPE_RETURN_IF_ERROR(check_text("the prompt", prompt.text));
  TROUPE_RETURN_IF_ERROR(check_text("the system message", prompt.system));
  for (std::size_t i = 0; i < prompt.messages.size(); ++i) {
    TROUPE_RETURN_IF_ERROR(
        check_text("message " + std::to_string(i + 1), prompt.messages[i].content));
  }
  return Status::ok();
}

}  // namespace

ChatContext chat_context(const Tokenizer& tokenizer) {
  const auto markup = [&](TokenId id) -> std::string {
    if (id < 0) return {};
    Result<std::string> piece = tokenizer.piece(id, /*with_special=*/true);
    return piece.is_ok() ? std::move(*piece) : std::string();
  };
  ChatContext context;
  context.bos = markup(tokenizer.bos());
  context.eos = markup(tokenizer.eos());
  context.pad = markup(tokenizer.pad());
  return context;
}

std::size_t countable_tokens(std::size_t context) { return 2 * context + 1024; }

Status far_too_long(std::size_t bytes, std::size_t context) {
  return Status(Code::kInvalidArgument,
                "the prompt has " + std::to_string(bytes) + " bytes, which are more than " +
                    std::to_string(countable_tokens(context)) + " tokens, and the context only " +
                    std::to_string(context) + "; shorten the prompt or raise the context");
}

namespace {

Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer, const std::string& text,
                                    EncodeOptions options, std::size_t context) {
  if (context != 0) options.tokens_max = countable_tokens(context);
  auto ids = tokenizer.encode(text, options);
  if (ids.code() == Code::kResourceExhausted) return far_too_long(text.size(), context);
  return ids;
}

}  // namespace

Result<std::vector<TokenId>> prompt_tokens(const Prompt& prompt, const Tokenizer& tokenizer,
                                           const ChatTemplate* chat_template,
                                           const std::optional<std::tm>& now, std::size_t context) {
  EncodeOptions options;
  const int kinds = !prompt.text.empty() + !prompt.messages.empty() + !prompt.token_ids.empty();
  if (kinds != 1) {
    return Status(Code::kInvalidArgument,
                  kinds == 0 ? "the request has no prompt; give a text, messages or token ids"
                             : "the request has several prompts; give a text, messages or token "
                               "ids, not more than one of them");
  }
  if (!prompt.token_ids.empty()) return prompt.token_ids;
  TROUPE_RETURN_IF_ERROR(check_texts(prompt));
  if (prompt.raw && !prompt.text.empty()) return encode(tokenizer, prompt.text, options, context);
  if (chat_template == nullptr) {
    return Status(Code::kFailedPrecondition,
                  "the model has no chat template; give the prompt raw (--raw)");
  }
  std::vector<ChatMessage> messages;
  if (!prompt.system.empty()) messages.push_back({"system", prompt.system});
  if (!prompt.text.empty()) messages.push_back({"user", prompt.text});
  messages.insert(messages.end(), prompt.messages.begin(), prompt.messages.end());
  ChatContext variables = chat_context(tokenizer);
  variables.now = now;
  TROUPE_ASSIGN_OR_RETURN(RenderedChat chat, chat_template->render_marked(messages, variables));
  options.add_special = false;  // the template writes BOS itself if the model wants one
  // Markup that a user writes is plain text: only the template writes special tokens.
  options.plain = std::move(chat.foreign);
  return encode(tokenizer, chat.text, options, context);
}

}  // namespace troupe::model
