#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/regex.h>
#include <troupe/runtime/status.h>

// Chat templates: an interpreter for the subset of Jinja that models' templates use, with bounded
// steps, depth and output. Immutable after parsing; any thread may render.

namespace troupe::model {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

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
  // bos and eos: the markup of these tokens, for templates that write them. kInvalidArgument when
  // the template refuses the messages.
  virtual Result<RenderedChat> render_marked(const std::vector<ChatMessage>& messages,
                                             bool add_generation_prompt, std::string_view bos,
                                             std::string_view eos) const = 0;
  // The same from JSON texts: a list of messages, of whatever fields, and a list of tools ("" for
  // none). kBadData names what is wrong with them.
  virtual Result<RenderedChat> render_json(std::string_view messages, std::string_view tools,
                                           bool add_generation_prompt, std::string_view bos,
                                           std::string_view eos) const = 0;
  // The text alone.
  Result<std::string> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                             std::string_view bos, std::string_view eos) const;
};

}  // namespace troupe::model
