#include <utility>

#include <troupe/model/chat_template.h>
#include <troupe/model/jinja_ast.h>
#include <troupe/model/jinja_eval.h>

namespace troupe::model {
namespace {

constexpr std::size_t kSourceBytesMax = 1 << 20;

class JinjaTemplate final : public ChatTemplate {
 public:
  explicit JinjaTemplate(jinja::Body body) : body_(std::move(body)) {}

  Result<std::string> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                             std::string_view bos, std::string_view eos) const override {
    using jinja::Value;
    jinja::List list;
    for (const ChatMessage& message : messages) {
      jinja::Dict dict;
      dict.emplace_back("role", Value(message.role));
      dict.emplace_back("content", Value(message.content));
      list.emplace_back(std::move(dict));
    }
    jinja::Dict variables;
    variables.emplace_back("messages", Value(std::move(list)));
    variables.emplace_back("add_generation_prompt", Value(add_generation_prompt));
    variables.emplace_back("bos_token", Value(std::string(bos)));
    variables.emplace_back("eos_token", Value(std::string(eos)));
    // Templates that know tools are told that there are none, as transformers does.
    variables.emplace_back("tools", Value(jinja::None{}));
    variables.emplace_back("documents", Value(jinja::None{}));
    return jinja::evaluate(body_, std::move(variables));
  }

 private:
  jinja::Body body_;
};

}  // namespace

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::parse(std::string_view source) {
  if (source.size() > kSourceBytesMax) {
    return Status(Code::kBadData, "the chat template has " + std::to_string(source.size()) +
                                      " bytes, more than the limit of " +
                                      std::to_string(kSourceBytesMax));
  }
  TROUPE_ASSIGN_OR_RETURN(jinja::Body body, jinja::parse_template(source));
  return std::shared_ptr<const ChatTemplate>(std::make_shared<JinjaTemplate>(std::move(body)));
}

}  // namespace troupe::model
