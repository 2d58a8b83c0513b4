#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct TokenizeOptions {
  CommonOptions common;
  std::string model, text, file;
  bool has_text = false, no_special = false;
};

Result<std::vector<model::TokenId>> token_ids(const TokenizeOptions& options) {
  if (options.has_text == !options.file.empty()) {
    return Status(Code::kInvalidArgument,
                  "give the text as an argument or a file with -f, one of "
                  "the two");
  }
  std::string text = options.text;
  if (!options.file.empty()) {
    TROUPE_ASSIGN_OR_RETURN(text, read_text(options.file));
  } else if (text == "-") {
    TROUPE_ASSIGN_OR_RETURN(text, read_stdin());
  }
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path,
                          model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const std::unique_ptr<model::WholeModel> source,
                          model::open_model(path.string()));
  if (!model::has_tokenizer(source->header())) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(const std::shared_ptr<const model::Tokenizer> tokenizer,
                          model::open_tokenizer(source->header(), 0));
  model::EncodeOptions encoding;
  encoding.add_special = encoding.parse_special = !options.no_special;
  return tokenizer->encode(text, encoding);
}

int tokenize(const TokenizeOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  Result<std::vector<model::TokenId>> ids = token_ids(options);
  if (!ids) return fail(ids.status(), options.common.json);
  if (options.common.json) {
    print_json({{"ids", *ids}});
    return kExitOk;
  }
  std::string line;
  for (const model::TokenId id : *ids) line += (line.empty() ? "" : ",") + std::to_string(id);
  std::printf("%s\n", line.c_str());
  return kExitOk;
}

}  // namespace

Action add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  app.add_option("MODEL", options->model, "A name, a path, model:HEX or sha256:HEX")
      ->required()
      ->type_name("");
  CLI::Option* text = app.add_option("TEXT", options->text, "Text, or - for stdin")->type_name("");
  app.add_option("-f,--file", options->file, "The file with the text")->type_name("FILE");
  app.add_flag("--no-special", options->no_special,
               "Add no BOS or EOS, and take the markup of special tokens as plain text");
  add_common_options(app, options->common);
  app.footer(
      "Prints the ids with commas between them, as `troupe run --prompt-ids` takes them. Every\n"
      "byte of the text counts, including its last newline; markup such as <|im_end|> is one\n"
      "token.\n"
      "\n"
      "Examples:\n"
      "  troupe tokenize smollm2-135m \"Hello world\"\n"
      "  troupe tokenize smollm2-135m -f prompt.txt --json   {\"ids\":[...]}");
  return [options, text] {
    options->has_text = text->count() > 0;
    return tokenize(*options);
  };
}

}  // namespace troupe::tools
