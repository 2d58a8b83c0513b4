#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/jinja/eval.h>
#include <troupe/model/jinja/parser.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::size_t kSourceBytesMax = 1 << 20;

// Schemas of tools nest deeply: each level of an object takes two levels of JSON.
constexpr JsonLimits kJsonLimits = {.bytes_max = std::size_t{16} << 20,
                                    .depth_max = 200,
                                    .advice = "correct what is written there"};
constexpr std::array<std::string_view, 6> kRoles = {"system", "user",      "assistant",
                                                    "tool",   "developer", "function"};

using jinja::Value;

// Returns the role as a value. Templates often write '<|' + role + '|>' before a message. A role
// that is not one of these could forge other markup, so it is marked as foreign.
Value role_value(const std::string& role) {
  const bool known = std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
  return known ? Value(role) : Value(role).as_foreign();
}

// Builds values from a JSON text as it is read: their fields stay in the order in which they were
// written, because templates print them so, and whole numbers of any size stay whole.
class ValueReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return add(Value(jinja::None{})); }
  bool boolean(bool value) override { return add(Value(value)); }
  bool number_integer(number_integer_t value) override { return add(Value(std::int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    return add(Value(*jinja::BigInteger::parse(std::to_string(value))));
  }
  bool number_float(number_float_t value, const string_t& text) override {
    const bool whole = text.find_first_not_of("-0123456789") == text.npos;
    if (!whole) return add(Value(value));
    const auto big = jinja::BigInteger::parse(text);
    too_large_ = !big;
    return big && add(Value(*big));
  }
  bool string(string_t& value) override { return add(Value(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_array(std::size_t) override { return open(); }
  bool start_object(std::size_t) override { return open(); }
  bool key(string_t& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool end_array() override {
    jinja::List items = std::move(open_.back().items);
    open_.pop_back();
    return add(Value(std::move(items)));
  }
  bool end_object() override {
    jinja::Dict entries = std::move(open_.back().entries);
    open_.pop_back();
    return add(Value(std::move(entries)));
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  const Value& value() const { return value_; }
  bool too_large() const { return too_large_; }

 private:
  struct Open {
    jinja::List items;
    jinja::Dict entries;
    std::optional<std::string> key;
  };
  bool open() {
    open_.emplace_back();
    return true;
  }
  bool add(Value value) {
    if (open_.empty()) {
      value_ = std::move(value);
    } else if (open_.back().key) {
      open_.back().entries.emplace_back(Value(*open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  Value value_;
  std::vector<Open> open_;
  bool too_large_ = false;
};

Result<Value> parse_value(std::string_view text, const std::string& what, bool list = true) {
  TROUPE_RETURN_IF_ERROR(check_json(text, what, kJsonLimits));
  ValueReader reader;
  const bool read = nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  if (!read || reader.too_large()) {
    return Status(Code::kBadData, what + " has a number that is too large");
  }
  if (list && reader.value().list() == nullptr)
    return Status(Code::kBadData, what + " is not a list");
  if (!list && reader.value().dict() == nullptr) {
    return Status(Code::kBadData, what + " is not an object");
  }
  return reader.value();
}

class JinjaTemplate final : public ChatTemplate {
 public:
  explicit JinjaTemplate(jinja::Body body) : body_(std::move(body)) {}

  Result<RenderedChat> render_marked(const std::vector<ChatMessage>& messages,
                                     const ChatContext& context) const override {
    jinja::List list;
    for (const ChatMessage& message : messages) {
      jinja::Dict dict;
      dict.emplace_back(Value(std::string("role")), role_value(message.role));
      dict.emplace_back(Value(std::string("content")), Value(message.content).as_foreign());
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
        return Status(Code::kBadData, "the list of messages has an entry that is not an object");
      }
      jinja::Dict dict;
      for (const auto& [key, value] : *message.dict()) {
        const bool role = *key.string() == "role" && value.string() != nullptr;
        dict.emplace_back(key.as_foreign(),
                          role ? role_value(*value.string()) : value.as_foreign());
      }
      list.emplace_back(std::move(dict));
    }
    return run(Value(std::move(list)), context);
  }

 private:
  Result<RenderedChat> run(Value messages, const ChatContext& context) const {
    jinja::Names variables;
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
      for (const auto& [key, value] : *more.dict()) {
        const std::string& name = *key.string();
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
