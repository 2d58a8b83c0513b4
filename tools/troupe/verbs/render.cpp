#include <algorithm>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/chat/chat_template.h>
#include <troupe/model/chat/prompt.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct RenderOptions {
  CommonOptions common;
  std::string model, messages, chat_template, tools, variables;
  bool no_generation_prompt = false;
};

// The markup of the tokens that templates use, and the template's source.
struct Chat {
  std::string source;
  model::ChatContext context;
};

std::string name_of(const std::string& file) { return file == "-" ? "stdin" : file; }

struct JsonFile {
  std::string text;
  nlohmann::json value;
};
// Reads JSON from a file. It is checked here, so that an error message names the file.
Result<JsonFile> read_json(const std::string& file, bool list) {
  constexpr JsonLimits kLimits = {std::size_t{16} << 20, 200, "correct what is written there"};
  JsonFile read;
  TROUPE_ASSIGN_OR_RETURN(read.text, read_text(file));
  TROUPE_ASSIGN_OR_RETURN(read.value, parse_json(read.text, name_of(file), kLimits));
  if (list ? read.value.is_array() : read.value.is_object()) return read;
  return Status(Code::kBadData, name_of(file) + " is a JSON " + read.value.type_name() +
                                    ", expected " + (list ? "a list" : "an object"));
}

// Checks that "content" is something that templates can use: a text, parts, or nothing if tools are
// called instead; a tool's answer may also be an object.
bool content_fits(const nlohmann::json& message) {
  const auto found = message.find("content");
  const std::string role = message["role"].get<std::string>();
  if (found == message.end() || found->is_null()) {
    const auto calls = message.find("tool_calls");
    return calls != message.end() && calls->is_array() && !calls->empty();
  }
  if (found->is_object()) return role == "tool" || role == "ipython" || role == "function";
  if (!found->is_array()) return found->is_string();
  return std::all_of(found->begin(), found->end(), [](const nlohmann::json& part) {
    return part.is_string() || part.is_object();
  });
}

Status check_messages(const nlohmann::json& messages, const std::string& name) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const nlohmann::json& message = messages[i];
    const std::string where = name + ", message " + std::to_string(i + 1) + " of " +
                              std::to_string(messages.size()) + ": ";
    if (!message.is_object()) {
      return Status(Code::kBadData, where + "it is a JSON " + message.type_name() +
                                        ", expected an object with \"role\" and \"content\"");
    }
    if (!message.contains("role") || !message["role"].is_string()) {
      return Status(Code::kBadData, where + "\"role\" is " +
                                        (message.contains("role") ? "not text" : "missing") +
                                        ", expected one such as \"user\"");
    }
    if (!content_fits(message)) {
      return Status(Code::kBadData, where +
                                        "\"content\" is neither a text nor a list of parts (it may "
                                        "be null beside \"tool_calls\")");
    }
  }
  return Status::ok();
}

Result<Chat> open_chat(const RenderOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path,
                          model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const std::unique_ptr<model::WholeModel> model,
                          model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const std::shared_ptr<const model::Tokenizer> tokenizer,
                          model::open_tokenizer(model->header(), 0));
  Chat chat;
  chat.context = model::chat_context(*tokenizer);
  if (!options.chat_template.empty()) {
    TROUPE_ASSIGN_OR_RETURN(chat.source, read_text(options.chat_template));
    return chat;
  }
  TROUPE_ASSIGN_OR_RETURN(chat.source, model::chat_source(model->header(), !options.tools.empty()));
  if (chat.source.empty()) {
    return Status(Code::kFailedPrecondition,
                  options.model + " has no chat template; give one with --template");
  }
  return chat;
}

Result<std::string> render(const RenderOptions& options) {
  const int from_stdin = (options.messages == "-") + (options.tools == "-") +
                         (options.variables == "-") + (options.chat_template == "-");
  if (from_stdin > 1) {
    return Status(Code::kInvalidArgument, "stdin (-) can be one of the files, not more");
  }
  TROUPE_ASSIGN_OR_RETURN(const JsonFile messages, read_json(options.messages, true));
  TROUPE_RETURN_IF_ERROR(check_messages(messages.value, name_of(options.messages)));
  TROUPE_ASSIGN_OR_RETURN(Chat chat, open_chat(options));
  chat.context.add_generation_prompt = !options.no_generation_prompt;
  chat.context.now = model::local_time();
  if (!options.tools.empty()) {
    TROUPE_ASSIGN_OR_RETURN(JsonFile tools, read_json(options.tools, true));
    chat.context.tools = std::move(tools.text);
  }
  if (!options.variables.empty()) {
    TROUPE_ASSIGN_OR_RETURN(JsonFile variables, read_json(options.variables, false));
    chat.context.variables = std::move(variables.text);
  }
  const std::string from =
      options.chat_template.empty() ? options.model : name_of(options.chat_template);
  const auto parsed = model::ChatTemplate::parse(chat.source);
  if (!parsed) return parsed.status().with_context(from);
  auto rendered = (*parsed)->render_json(messages.text, chat.context);
  if (!rendered.is_ok()) {
    // A refusal by the template is about the data, not about how the command was called.
    const Code code =
        rendered.code() == Code::kInvalidArgument ? Code::kFailedPrecondition : rendered.code();
    return Status(code, rendered.message()).with_context(from);
  }
  return std::move(rendered->text);
}

int run(const RenderOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  return give_text(render(options), options.common.json);
}

}  // namespace

Action add_render(CLI::App& app) {
  auto options = std::make_shared<RenderOptions>();
  app.add_option("MODEL", options->model, "A name, a path, model:HEX or sha256:HEX")
      ->required()
      ->type_name("");
  app.add_option("--messages", options->messages,
                 "A JSON list of messages, each with a role and other fields that the template "
                 "reads; - for "
                 "stdin")
      ->required()
      ->type_name("FILE");
  app.add_option("--template", options->chat_template, "A template to use instead of the model's")
      ->type_name("FILE");
  app.add_option("--tools", options->tools, "A JSON list of tools that the model may call")
      ->type_name("FILE");
  app.add_option("--variables", options->variables,
                 "A JSON object of more variables for the template, such as documents or "
                 "enable_thinking")
      ->type_name("FILE");
  app.add_flag("--no-generation-prompt", options->no_generation_prompt,
               "End after the last message, not where the model's answer begins");
  add_common_options(app, options->common);
  app.footer(
      "Prints the text that the model's chat template makes of the messages, which is the text\n"
      "that `troupe run` would give the model, without a newline that is not part of it. The\n"
      "model is not run.\n"
      "\n"
      "Examples:\n"
      "  echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' | troupe render smollm2-135m --messages "
      "-\n"
      "  troupe render ./folder --messages chat.json --tools tools.json --json   {\"text\":...}\n"
      "  troupe render smollm2-135m --messages chat.json --template other.jinja");
  return [options] { return run(*options); };
}

}  // namespace troupe::tools
