#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/status.h>

// What a request asks a model, and the token ids that it becomes. Engines and `troupe render` use
// it. Pure.

namespace troupe::model {

// Exactly one of `text`, `messages` and `token_ids` is given.
struct Prompt {
  std::string text;                   // one message of a user; if `raw`, the whole text as it is
  std::vector<ChatMessage> messages;  // a chat, whose last message the model answers
  std::vector<TokenId> token_ids;     // the ids themselves
  std::string system;                 // a message of the role "system" before the others
  bool raw = false;                   // `text` goes to the model without the chat template
};

// Returns the context of a template that writes the tokenizer's markup: its bos, eos and pad.
ChatContext chat_context(const Tokenizer& tokenizer);

// Returns the token ids of a prompt. `chat_template` is null if the model has none. `now` is the
// local time for templates that write the date. Reading a text that is far too long for a model of
// `context` positions (0: no bound) stops as soon as that is known.
//   Errors: kInvalidArgument for no prompt, several kinds of it, or text that is not UTF-8,
//   or far too long;
//   kFailedPrecondition for a chat with a model that has no template (says to use raw); what the
//   template returns.
Result<std::vector<TokenId>> prompt_tokens(const Prompt& prompt, const Tokenizer& tokenizer,
                                           const ChatTemplate* chat_template,
                                           const std::optional<std::tm>& now = {},
                                           std::size_t context = 0);

// Returns EncodeOptions::tokens_max for prompts of a model of this context. It allows more tokens
// than fit, so that the length of a prompt that is a little too long can be told.
std::size_t countable_tokens(std::size_t context);
// Returns the error (kInvalidArgument) for a text of this number of bytes that was not read to its
// end.
Status far_too_long(std::size_t bytes, std::size_t context);

}  // namespace troupe::model
