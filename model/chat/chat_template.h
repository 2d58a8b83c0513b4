#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/regex.h>
#include <troupe/runtime/status.h>

// Chat templates: an interpreter for the subset of Jinja that models' templates use, with bounded
// steps, depth and output. Immutable after parsing; any thread may render.

namespace troupe::model {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

// What a template finds beside the messages, under the names that transformers gives it.
struct ChatContext {
  bool add_generation_prompt = true;
  // The markup of these tokens, for templates that write them.
  std::string bos, eos, pad;
  // JSON: a list of tools; "" for none, and templates that know tools are told so.
  std::string tools;
  // JSON: an object of further names ("documents", "enable_thinking"); "" for none.
  std::string variables;
  // Local time, which strftime_now writes; without it templates find no such function.
  std::optional<std::tm> now;
};
// Of this machine's clock.
std::tm local_time();

// What a template makes, and which of its bytes come from the messages or tools: markup of special
// tokens in these is plain text (EncodeOptions::plain). A role counts as the template's own where
// it is a well-known one.
struct RenderedChat {
  std::string text;
  std::vector<TextSpan> foreign;  // ascending
};

class ChatTemplate {
 public:
  // kBadData names the line of an unknown construct.
  static Result<std::shared_ptr<const ChatTemplate>> parse(std::string_view source);
  virtual ~ChatTemplate() = default;
  // kInvalidArgument when the template refuses the messages (raise_exception), kBadData when it
  // fails or the context's JSON is none.
  virtual Result<RenderedChat> render_marked(const std::vector<ChatMessage>& messages,
                                             const ChatContext& context) const = 0;
  // The same from a JSON text: a list of messages, of whatever fields.
  virtual Result<RenderedChat> render_json(std::string_view messages,
                                           const ChatContext& context) const = 0;
  // The text alone.
  Result<std::string> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                             std::string_view bos, std::string_view eos) const;
};

}  // namespace troupe::model
