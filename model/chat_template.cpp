#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/chat_template.h>
#include <troupe/model/jinja_ast.h>
#include <troupe/model/jinja_eval.h>
#include <troupe/model/json_text.h>

namespace troupe::model {
namespace {

constexpr std::size_t kSourceBytesMax = 1 << 20;

constexpr JsonLimits kJsonLimits = {std::size_t{16} << 20, 32};
constexpr std::array<std::string_view, 6> kRoles = {"system", "user",      "assistant",
                                                    "tool",   "developer", "function"};

using jinja::Value;

// What a template writes before a message is often '<|' + role + '|>': a role that is none of
// these could write other markup.
Value role_value(const std::string& role) {
  const bool known = std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
  return known ? Value(role) : Value(role).as_foreign();
}

// nullopt: a number that the template language has not.
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

Result<Value> parse_value(std::string_view text, const std::string& what) {
  // Checked for size, depth and repeated keys first; then read again, since templates print the
  // fields in the order in which they were written.
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json checked, parse_json(text, what, kJsonLimits));
  if (!checked.is_array()) return Status(Code::kBadData, what + " is no list");
  const auto ordered = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (ordered.is_discarded()) return Status(Code::kBadData, what + " is no JSON");
  std::optional<Value> value = value_of(ordered);
  if (!value) return Status(Code::kBadData, what + " has a number that is too large");
  return std::move(*value);
}

class JinjaTemplate final : public ChatTemplate {
 public:
  explicit JinjaTemplate(jinja::Body body) : body_(std::move(body)) {}

  Result<RenderedChat> render_marked(const std::vector<ChatMessage>& messages,
                                     bool add_generation_prompt, std::string_view bos,
                                     std::string_view eos) const override {
    jinja::List list;
    for (const ChatMessage& message : messages) {
      jinja::Dict dict;
      dict.emplace_back("role", role_value(message.role));
      dict.emplace_back("content", Value(message.content).as_foreign());
      list.emplace_back(std::move(dict));
    }
    // Templates that know tools are told that there are none, as transformers does.
    return run(Value(std::move(list)), Value(jinja::None{}), add_generation_prompt, bos, eos);
  }

  Result<RenderedChat> render_json(std::string_view messages, std::string_view tools,
                                   bool add_generation_prompt, std::string_view bos,
                                   std::string_view eos) const override {
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
    Value known_tools{jinja::None{}};
    if (!tools.empty()) {
      TROUPE_ASSIGN_OR_RETURN(known_tools, parse_value(tools, "the list of tools"));
    }
    return run(Value(std::move(list)), known_tools.as_foreign(), add_generation_prompt, bos, eos);
  }

 private:
  Result<RenderedChat> run(Value messages, Value tools, bool add_generation_prompt,
                           std::string_view bos, std::string_view eos) const {
    jinja::Dict variables;
    variables.emplace_back("messages", std::move(messages));
    variables.emplace_back("add_generation_prompt", Value(add_generation_prompt));
    variables.emplace_back("bos_token", Value(std::string(bos)));
    variables.emplace_back("eos_token", Value(std::string(eos)));
    variables.emplace_back("tools", std::move(tools));
    variables.emplace_back("documents", Value(jinja::None{}));
    TROUPE_ASSIGN_OR_RETURN(jinja::Text text, jinja::evaluate(body_, std::move(variables)));
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
  TROUPE_ASSIGN_OR_RETURN(RenderedChat chat,
                          render_marked(messages, add_generation_prompt, bos, eos));
  return std::move(chat.text);
}

}  // namespace troupe::model
