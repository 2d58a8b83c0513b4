#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/chat_source.h>
#include <troupe/model/chat_template.h>
#include <troupe/model/id_tokenizer.h>
#include <troupe/model/json_text.h>
#include <troupe/tools/troupe/input.h>
#include <troupe/tools/troupe/logging.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string model, messages, chat_template, tools, variables;
  bool no_generation_prompt = false;
};

// The markup of the tokens that templates write, and the template's source.
struct Chat {
  std::string source;
  model::ChatContext context;
};

// A file's JSON, checked here so that what is wrong with it is said with its name.
Result<std::string> read_json(const std::string& file, bool list) {
  constexpr model::JsonLimits kLimits = {std::size_t{16} << 20, 32};
  TROUPE_ASSIGN_OR_RETURN(std::string text, read_text(file));
  const std::string name = file == "-" ? "stdin" : file;
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json value, model::parse_json(text, name, kLimits));
  if (list ? value.is_array() : value.is_object()) return text;
  return Status(Code::kBadData, name + " is a JSON " + value.type_name() + ", expected " +
                                    (list ? "a list" : "an object"));
}

Result<Chat> open_chat(const Options& options) {
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path,
                          model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const std::unique_ptr<model::WholeModel> model,
                          model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const std::shared_ptr<const model::Tokenizer> tokenizer,
                          model::open_tokenizer(model->header(), 0));
  const auto markup = [&](model::TokenId id) {
    auto piece = id < 0 ? std::string() : tokenizer->piece(id, /*with_special=*/true);
    return piece.is_ok() ? *piece : std::string();
  };
  Chat chat;
  chat.context.bos = markup(tokenizer->bos());
  chat.context.eos = markup(tokenizer->eos());
  chat.context.pad = markup(tokenizer->pad());
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

Result<std::string> render(const Options& options) {
  const int from_stdin = (options.messages == "-") + (options.tools == "-") +
                         (options.variables == "-") + (options.chat_template == "-");
  if (from_stdin > 1) {
    return Status(Code::kInvalidArgument, "stdin (-) can be one of the files, not more");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string messages, read_json(options.messages, true));
  TROUPE_ASSIGN_OR_RETURN(Chat chat, open_chat(options));
  chat.context.add_generation_prompt = !options.no_generation_prompt;
  chat.context.now = model::local_time();
  if (!options.tools.empty()) {
    TROUPE_ASSIGN_OR_RETURN(chat.context.tools, read_json(options.tools, true));
  }
  if (!options.variables.empty()) {
    TROUPE_ASSIGN_OR_RETURN(chat.context.variables, read_json(options.variables, false));
  }
  TROUPE_ASSIGN_OR_RETURN(const auto parsed, model::ChatTemplate::parse(chat.source));
  auto rendered = parsed->render_json(messages, chat.context);
  if (!rendered.is_ok()) {
    // The template's own refusal is about the data, not about how the command was called.
    const Code code =
        rendered.code() == Code::kInvalidArgument ? Code::kFailedPrecondition : rendered.code();
    return Status(code, rendered.message());
  }
  return std::move(rendered->text);
}

int run(const Options& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  return give_text(render(options), options.common.json);
}

}  // namespace

Action add_render(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("MODEL", options->model, "A name, a path, or sha256:HEX")
      ->required()
      ->type_name("");
  app.add_option(
         "--messages", options->messages,
         "A JSON list of messages, each with a role and what else the template reads; - for "
         "stdin")
      ->required()
      ->type_name("FILE");
  app.add_option("--template", options->chat_template, "A template to use instead of the model's")
      ->type_name("FILE");
  app.add_option("--tools", options->tools, "A JSON list of tools that the model may call")
      ->type_name("FILE");
  app.add_option("--variables", options->variables,
                 "A JSON object of more names for the template, such as documents or "
                 "enable_thinking")
      ->type_name("FILE");
  app.add_flag("--no-generation-prompt", options->no_generation_prompt,
               "End behind the last message, not where the model's answer begins");
  add_common_options(app, options->common);
  app.footer(
      "Prints what the model's chat template makes of the messages: the text that `troupe run`\n"
      "would give the model, without a newline that is not part of it. Nothing is run.\n"
      "\n"
      "Examples:\n"
      "  echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' | troupe render smollm2-135m --messages "
      "-\n"
      "  troupe render ./folder --messages chat.json --tools tools.json --json   {\"text\":...}\n"
      "  troupe render smollm2-135m --messages chat.json --template other.jinja");
  return [options] { return run(*options); };
}

}  // namespace troupe::tools
