#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/text_span.h>
#include <troupe/runtime/status.h>

// Chat templates: they are written in the subset of Jinja that jinja/ interprets, with bounded
// steps, depth and output. Immutable after parsing; any thread may render.

namespace troupe::model {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

// What a template finds besides the messages, under the names that transformers gives it.
struct ChatContext {
  bool add_generation_prompt = true;
  // The markup of these tokens, for templates that write them.
  std::string bos, eos, pad;
  // JSON: a list of tools; "" for none. A template can test whether there are any.
  std::string tools;
  // JSON: an object of further names, such as "documents" or "enable_thinking"; "" for none.
  std::string variables;
  // The local time, which strftime_now writes. Without it, templates find no such function.
  std::optional<std::tm> now;
};
// Returns the local time of this machine's clock.
std::tm local_time();

// What a template makes, and which of its bytes come from the messages or tools. In these bytes,
// markup of special tokens is plain text (EncodeOptions::plain). A well-known role counts as the
// template's own text.
struct RenderedChat {
  std::string text;
  std::vector<TextSpan> foreign;  // ascending
};

class ChatTemplate {
 public:
  // Errors: kBadData names the line of an unknown construct.
  static Result<std::shared_ptr<const ChatTemplate>> parse(std::string_view source);
  virtual ~ChatTemplate() = default;
  // Errors: kInvalidArgument if the template refuses the messages (raise_exception); kBadData if it
  // fails, or a text of the context is not JSON.
  virtual Result<RenderedChat> render_marked(const std::vector<ChatMessage>& messages,
                                             const ChatContext& context) const = 0;
  // Does the same from a JSON text: a list of messages, with any fields.
  virtual Result<RenderedChat> render_json(std::string_view messages,
                                           const ChatContext& context) const = 0;
  // Returns the text alone.
  Result<std::string> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                             std::string_view bos, std::string_view eos) const;
};

}  // namespace troupe::model
