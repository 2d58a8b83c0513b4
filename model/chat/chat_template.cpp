#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/jinja/eval.h>
#include <troupe/model/jinja/parser.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::size_t kSourceBytesMax = 1 << 20;

constexpr JsonLimits kJsonLimits = {std::size_t{16} << 20, 32};
constexpr std::array<std::string_view, 6> kRoles = {"system", "user",      "assistant",
                                                    "tool",   "developer", "function"};

using jinja::Value;

// Templates often write '<|' + role + '|>' before a message. A role that is not one of these could
// forge other markup, so it is marked as foreign.
Value role_value(const std::string& role) {
  const bool known = std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
  return known ? Value(role) : Value(role).as_foreign();
}

// Returns nullopt for a number that the template language cannot hold.
std::optional<Value> value_of(const nlohmann::ordered_json& json) {
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_string()) return Value(json.get<std::string>());
  if (json.is_number_float()) return Value(json.get<double>());
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return std::nullopt;
  }
  if (json.is_number()) return Value(json.get<std::int64_t>());
  if (json.is_array()) {
    jinja::List list;
    for (const auto& one : json) {
      std::optional<Value> value = value_of(one);
      if (!value) return std::nullopt;
      list.push_back(std::move(*value));
    }
    return Value(std::move(list));
  }
  if (json.is_object()) {
    jinja::Dict dict;
    for (const auto& [key, one] : json.items()) {
      std::optional<Value> value = value_of(one);
      if (!value) return std::nullopt;
      dict.emplace_back(key, std::move(*value));
    }
    return Value(std::move(dict));
  }
  return Value(jinja::None{});
}

Result<Value> parse_value(std::string_view text, const std::string& what, bool list = true) {
  // Ordered, because templates print fields in the order in which they were written.
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::ordered_json json,
                          parse_ordered_json(text, what, kJsonLimits));
  if (list && !json.is_array()) return Status(Code::kBadData, what + " is no list");
  if (!list && !json.is_object()) return Status(Code::kBadData, what + " is no object");
  std::optional<Value> value = value_of(json);
  if (!value) return Status(Code::kBadData, what + " has a number that is too large");
  return std::move(*value);
}

class JinjaTemplate final : public ChatTemplate {
 public:
  explicit JinjaTemplate(jinja::Body body) : body_(std::move(body)) {}

  Result<RenderedChat> render_marked(const std::vector<ChatMessage>& messages,
                                     const ChatContext& context) const override {
    jinja::List list;
    for (const ChatMessage& message : messages) {
      jinja::Dict dict;
      dict.emplace_back("role", role_value(message.role));
      dict.emplace_back("content", Value(message.content).as_foreign());
      list.emplace_back(std::move(dict));
    }
    return run(Value(std::move(list)), context);
  }

  Result<RenderedChat> render_json(std::string_view messages,
                                   const ChatContext& context) const override {
    TROUPE_ASSIGN_OR_RETURN(const Value given, parse_value(messages, "the list of messages"));
    jinja::List list;
    for (const Value& message : *given.list()) {
      if (message.dict() == nullptr) {
        return Status(Code::kBadData, "the list of messages has an entry that is no object");
      }
      jinja::Dict dict;
      for (const auto& [key, value] : *message.dict()) {
        const bool role = key == "role" && value.string() != nullptr;
        dict.emplace_back(key, role ? role_value(*value.string()) : value.as_foreign());
      }
      list.emplace_back(std::move(dict));
    }
    return run(Value(std::move(list)), context);
  }

 private:
  Result<RenderedChat> run(Value messages, const ChatContext& context) const {
    jinja::Dict variables;
    variables.emplace_back("messages", std::move(messages));
    variables.emplace_back("add_generation_prompt", Value(context.add_generation_prompt));
    variables.emplace_back("bos_token", Value(context.bos));
    variables.emplace_back("eos_token", Value(context.eos));
    if (!context.pad.empty()) variables.emplace_back("pad_token", Value(context.pad));
    Value tools{jinja::None{}};
    if (!context.tools.empty()) {
      TROUPE_ASSIGN_OR_RETURN(tools, parse_value(context.tools, "the list of tools"));
    }
    variables.emplace_back("tools", tools.as_foreign());
    variables.emplace_back("documents", Value(jinja::None{}));
    if (!context.variables.empty()) {
      TROUPE_ASSIGN_OR_RETURN(const Value more,
                              parse_value(context.variables, "the object of variables", false));
      for (const auto& [name, value] : *more.dict()) {
        if (name == "messages" || name == "tools" || name == "add_generation_prompt") {
          return Status(Code::kBadData, "the object of variables sets " + in_quotes(name) +
                                            ", which is given apart from it");
        }
        jinja::put(&variables, name, value.as_foreign());
      }
    }
    TROUPE_ASSIGN_OR_RETURN(jinja::Text text,
                            jinja::evaluate(body_, std::move(variables), context.now));
    return RenderedChat{std::move(text.text), std::move(text.foreign)};
  }

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

Result<std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                         bool add_generation_prompt, std::string_view bos,
                                         std::string_view eos) const {
  ChatContext context;
  context.add_generation_prompt = add_generation_prompt;
  context.bos = bos;
  context.eos = eos;
  TROUPE_ASSIGN_OR_RETURN(RenderedChat chat, render_marked(messages, context));
  return std::move(chat.text);
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  ::localtime_r(&now, &out);
  return out;
}

}  // namespace troupe::model
