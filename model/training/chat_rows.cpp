#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <troupe/model/chat/prompt.h>
#include <troupe/model/training/chat_rows.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr std::string_view kAssistant = "assistant";

Status row_error(const std::string& why) { return Status(Code::kBadData, why); }

Result<std::string> text_field(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) return row_error("it has no field '" + std::string(field) + "'");
  if (!found->is_string()) return row_error("its field '" + std::string(field) + "' is not text");
  return found->get<std::string>();
}

// Returns the role for a name that ShareGPT gives it, or the name itself.
std::string role_of(const std::string& name) {
  if (name == "human") return "user";
  if (name == "gpt") return "assistant";
  return name;
}

Result<std::vector<ChatMessage>> listed_messages(const json& list, const char* field,
                                                 const char* role, const char* content) {
  if (!list.is_array() || list.empty())
    return row_error("its field '" + std::string(field) + "' is not a list of messages");
  std::vector<ChatMessage> messages;
  for (const json& one : list) {
    if (!one.is_object()) return row_error("one of its messages is not an object");
    TROUPE_ASSIGN_OR_RETURN(const std::string name, text_field(one, role));
    TROUPE_ASSIGN_OR_RETURN(std::string text, text_field(one, content));
    messages.push_back({role_of(name), std::move(text)});
  }
  return messages;
}

Result<std::vector<ChatMessage>> messages_of(const json& row) {
  if (row.contains("messages"))
    return listed_messages(row["messages"], "messages", "role", "content");
  if (row.contains("conversations"))
    return listed_messages(row["conversations"], "conversations", "from", "value");
  if (row.contains("prompt") || row.contains("completion")) {
    TROUPE_ASSIGN_OR_RETURN(std::string prompt, text_field(row, "prompt"));
    TROUPE_ASSIGN_OR_RETURN(std::string completion, text_field(row, "completion"));
    return std::vector<ChatMessage>{{"user", std::move(prompt)},
                                    {std::string(kAssistant), std::move(completion)}};
  }
  if (row.contains("instruction")) {
    TROUPE_ASSIGN_OR_RETURN(std::string text, text_field(row, "instruction"));
    TROUPE_ASSIGN_OR_RETURN(std::string output, text_field(row, "output"));
    if (row.contains("input")) {
      TROUPE_ASSIGN_OR_RETURN(const std::string input, text_field(row, "input"));
      if (!input.empty()) text += "\n\n" + input;
    }
    return std::vector<ChatMessage>{{"user", std::move(text)},
                                    {std::string(kAssistant), std::move(output)}};
  }
  return row_error(
      "it has none of the fields 'messages', 'conversations', 'prompt' and 'instruction'");
}

// Reads a text as one message of `role`, or a list of messages.
Result<std::vector<ChatMessage>> text_or_messages(const json& row, const char* field,
                                                  const char* role) {
  if (row.contains(field) && row[field].is_array())
    return listed_messages(row[field], field, "role", "content");
  TROUPE_ASSIGN_OR_RETURN(std::string text, text_field(row, field));
  return std::vector<ChatMessage>{{role, std::move(text)}};
}

Result<ChatRow> preference_of(const json& row) {
  ChatRow out;
  std::vector<ChatMessage> prompt;
  const bool has_prompt = row.contains("prompt");
  if (has_prompt || !row.contains("chosen") || !row["chosen"].is_array()) {
    TROUPE_ASSIGN_OR_RETURN(prompt, text_or_messages(row, "prompt", "user"));
  }
  for (const auto& [field, chat] :
       {std::pair{"chosen", &out.messages}, std::pair{"rejected", &out.rejected}}) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<ChatMessage> answer,
                            text_or_messages(row, field, "assistant"));
    *chat = prompt;
    chat->insert(chat->end(), answer.begin(), answer.end());
    if (chat->back().role != kAssistant || chat->back().content.empty())
      return row_error("its field '" + std::string(field) +
                       "' does not end with a message of the assistant");
  }
  return out;
}

Result<json> object_of(std::string_view line) {
  Result<json> row = parse_json(line, "the line", kTextLimits);
  if (!row) return row_error("it is not JSON (" + row.message() + ")");
  if (!row->is_object()) return row_error("it is JSON, but not an object");
  return row;
}

Result<ChatRow> chat_of(const json& row) {
  TROUPE_ASSIGN_OR_RETURN(std::vector<ChatMessage> messages, messages_of(row));
  const bool answers = std::any_of(messages.begin(), messages.end(), [](const ChatMessage& one) {
    return one.role == kAssistant && !one.content.empty();
  });
  if (!answers) return row_error("no message of the role 'assistant' has any text");
  return ChatRow{0, std::move(messages), {}};
}

// A chat that is being made into an example.
class ChatExample {
 public:
  ChatExample(const Tokenizer& tokenizer, const ChatTemplate& chat_template)
      : tokenizer_(tokenizer), template_(chat_template) {}

  // Makes an example of a chat. With `last_only`, only the last message is trained.
  Result<Example> make(const std::vector<ChatMessage>& messages, bool last_only) {
    TROUPE_ASSIGN_OR_RETURN(Example example, whole(messages));
    for (std::size_t i = last_only ? messages.size() - 1 : 0; i < messages.size(); ++i) {
      if (messages[i].role != kAssistant || messages[i].content.empty()) continue;
      if (i == 0) return row_error("its first message is the assistant's");
      TROUPE_RETURN_IF_ERROR(add_answer(messages, i, &example));
    }
    return example;
  }

 private:
  // Returns the ids of messages as the template writes them, without a prompt for an answer.
  Result<std::vector<TokenId>> ids_of(const std::vector<ChatMessage>& messages) const {
    ChatContext context = chat_context(tokenizer_);
    context.add_generation_prompt = false;
    TROUPE_ASSIGN_OR_RETURN(RenderedChat chat, template_.render_marked(messages, context));
    EncodeOptions options;
    options.add_special = false;
    options.plain = std::move(chat.foreign);
    return tokenizer_.encode(chat.text, options);
  }

  Result<Example> whole(const std::vector<ChatMessage>& messages) const {
    Example example;
    TROUPE_ASSIGN_OR_RETURN(example.ids, ids_of(messages));
    const auto bos = std::count(example.ids.begin(), example.ids.end(), tokenizer_.bos());
    const bool is_mark = tokenizer_.bos() != tokenizer_.eos();
    if (tokenizer_.bos() >= 0 && is_mark && bos > 1 && example.ids.size() > 1 &&
        example.ids[0] == tokenizer_.bos() && example.ids[1] == tokenizer_.bos())
      return row_error("its text begins with two BOS tokens");
    example.targets.assign(example.ids.size(), kNoTarget);
    return example;
  }

  // Trains message `index`: the tokens from the end of the prompt that the model would be given, up
  // to the end of the turn.
  Status add_answer(const std::vector<ChatMessage>& messages, std::size_t index,
                    Example* example) const {
    const auto at = messages.begin() + static_cast<std::ptrdiff_t>(index);
    Prompt prompt;
    prompt.messages.assign(messages.begin(), at);
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> asked,
                            prompt_tokens(prompt, tokenizer_, &template_));
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> answered,
                            ids_of({messages.begin(), at + 1}));
    const auto begins = [&](const std::vector<TokenId>& front) {
      return front.size() <= example->ids.size() &&
             std::equal(front.begin(), front.end(), example->ids.begin());
    };
    if (!begins(asked) || asked.size() >= answered.size() ||
        !std::equal(asked.begin(), asked.end(), answered.begin()))
      return row_error("the chat template does not continue message " + std::to_string(index + 1) +
                       " from the prompt that the model would be given to answer");
    std::size_t end = answered.size();
    for (std::size_t i = answered.size(); i > asked.size(); --i)
      if (tokenizer_.is_end(answered[i - 1])) {
        end = i;
        break;
      }
    if (!begins({answered.begin(), answered.begin() + static_cast<std::ptrdiff_t>(end)}))
      return row_error("the chat template writes message " + std::to_string(index + 1) +
                       " differently when more messages follow");
    for (std::size_t i = asked.size(); i < end; ++i) example->targets[i - 1] = example->ids[i];
    return Status::ok();
  }

  const Tokenizer& tokenizer_;
  const ChatTemplate& template_;
};

// Cuts an example to length_max tokens. Returns false if nothing of it is to be trained.
bool cut(const DatasetOptions& options, Example* example, bool* truncated) {
  const std::size_t length = example->ids.size();
  *truncated = length > options.length_max;
  if (*truncated) {
    if (options.truncation == Truncation::kDrop) return false;
    const std::size_t surplus = length - options.length_max;
    const bool left = options.truncation == Truncation::kLeft;
    const auto first = static_cast<std::ptrdiff_t>(left ? 0 : options.length_max);
    const auto last = first + static_cast<std::ptrdiff_t>(surplus);
    example->ids.erase(example->ids.begin() + first, example->ids.begin() + last);
    example->targets.erase(example->targets.begin() + first, example->targets.begin() + last);
    if (!left) example->targets.back() = kNoTarget;
  }
  return std::any_of(example->targets.begin(), example->targets.end(),
                     [](TokenId id) { return id != kNoTarget; });
}

Result<ChatRows> read_rows(const std::filesystem::path& path,
                           Result<ChatRow> (*read)(const json& row)) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_data_text(path));
  ChatRows out;
  for (const auto& [number, line] : lines_of(text)) {
    const Result<json> object = object_of(line);
    Result<ChatRow> row = object ? read(*object) : Result<ChatRow>(object.status());
    if (row) {
      row->line = number;
      out.rows.push_back(std::move(*row));
    } else {
      out.dropped.push_back({number, row.message()});
    }
  }
  if (!out.rows.empty()) return out;
  return Status(Code::kBadData,
                path.string() + " has no chat that can be trained on" + why_none(out.dropped));
}

// The examples of a row, cut to size: one, or the two of a preference.
struct RowExamples {
  std::vector<Example> examples;
  bool truncated = false, is_too_long = false;
};

// Makes the examples of a row.
Result<RowExamples> examples_of(const ChatRow& row, const DatasetOptions& options,
                                ChatExample* chats) {
  RowExamples out;
  const bool is_preference = !row.rejected.empty();
  for (const std::vector<ChatMessage>* messages : {&row.messages, &row.rejected}) {
    if (messages->empty()) continue;
    TROUPE_ASSIGN_OR_RETURN(Example example, chats->make(*messages, is_preference));
    bool truncated = false;
    if (!cut(options, &example, &truncated)) out.is_too_long = true;
    out.truncated |= truncated;
    out.examples.push_back(std::move(example));
  }
  return out;
}

}  // namespace

Result<ChatRows> read_chat_rows(const std::filesystem::path& path) {
  return read_rows(path, chat_of);
}

Result<ChatRows> read_preference_rows(const std::filesystem::path& path) {
  return read_rows(path, preference_of);
}

Result<Dataset> chat_dataset(const ChatRows& rows, const Tokenizer& tokenizer,
                             const ChatTemplate* chat_template, const DatasetOptions& options) {
  if (chat_template == nullptr)
    return Status(Code::kFailedPrecondition,
                  "the model has no chat template, so nothing says how a chat is written; train it "
                  "on text with --task lm");
  Dataset dataset;
  dataset.dropped = rows.dropped;
  ChatExample chats(tokenizer, *chat_template);
  std::string first_error;
  for (const ChatRow& row : rows.rows) {
    Result<RowExamples> made = examples_of(row, options, &chats);
    if (!made) {
      if (first_error.empty()) first_error = made.message();
      dataset.dropped.push_back({row.line, made.message()});
    } else if (made->is_too_long) {
      dataset.dropped.push_back({row.line, "it is longer than " +
                                               std::to_string(options.length_max) +
                                               " tokens, and nothing of an answer is left"});
    } else {
      dataset.truncated += made->truncated ? 1 : 0;
      for (Example& example : made->examples) dataset.examples.push_back(std::move(example));
    }
  }
  if (!dataset.examples.empty()) return dataset;
  return Status(first_error.empty() ? Code::kBadData : Code::kFailedPrecondition,
                "no chat is left to train on" +
                    (first_error.empty() ? "; give a larger --max-length" : ": " + first_error));
}

}  // namespace troupe::model
