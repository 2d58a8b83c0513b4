#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Chat templates: an interpreter for the subset of Jinja that models' templates use, with bounded
// steps, depth and output. Immutable after parsing; any thread may render.

namespace troupe::model {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

class ChatTemplate {
 public:
  // kBadData names the line of an unknown construct.
  static Result<std::shared_ptr<const ChatTemplate>> parse(std::string_view source);
  virtual ~ChatTemplate() = default;
  // bos and eos: the markup of these tokens, for templates that write them.
  virtual Result<std::string> render(const std::vector<ChatMessage>& messages,
                                     bool add_generation_prompt, std::string_view bos,
                                     std::string_view eos) const = 0;
};

}  // namespace troupe::model
