#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/detokenizer.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/ids.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct DetokenizeOptions {
  CommonOptions common;
  std::string model, ids;
  bool no_special = false;
};

Result<std::string> text_of(const DetokenizeOptions& options) {
  std::string list = options.ids;
  if (list == "-") {
    TROUPE_ASSIGN_OR_RETURN(list, read_stdin());
    while (list.ends_with('\n') || list.ends_with('\r')) list.pop_back();
  }
  TROUPE_ASSIGN_OR_RETURN(const std::vector<model::TokenId> ids, parse_ids(list, "--ids"));
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path,
                          model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const std::unique_ptr<model::WholeModel> source,
                          model::open_model(path.string()));
  if (!model::has_tokenizer(source->header())) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(const std::shared_ptr<const model::Tokenizer> tokenizer,
                          model::tokenizer_from_gguf(source->header()));
  model::Detokenizer stream(*tokenizer, /*with_special=*/!options.no_special);
  std::string text;
  for (const model::TokenId id : ids) {
    TROUPE_ASSIGN_OR_RETURN(const std::string part, stream.push(id));
    text += part;
  }
  return text + stream.finish();
}

int detokenize(const DetokenizeOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  return give_text(text_of(options), options.common.json);
}

}  // namespace

Action add_detokenize(CLI::App& app) {
  auto options = std::make_shared<DetokenizeOptions>();
  app.add_option("MODEL", options->model, "A name, a path, model:HEX or sha256:HEX")
      ->required()
      ->type_name("");
  app.add_option("--ids", options->ids, "Token ids with commas between them, or - for stdin")
      ->required()
      ->type_name("IDS");
  app.add_flag("--no-special", options->no_special,
               "Leave out special tokens, which are otherwise shown as markup");
  add_common_options(app, options->common);
  app.footer(
      "Prints the text of the ids, without a newline that is not part of it: the inverse of\n"
      "`troupe tokenize`. Bytes that are not part of a UTF-8 character become U+FFFD.\n"
      "\n"
      "Examples:\n"
      "  troupe detokenize smollm2-135m --ids 504,3575,282\n"
      "  troupe tokenize smollm2-135m \"Hello\" | troupe detokenize smollm2-135m --ids - --json");
  return [options] { return detokenize(*options); };
}

}  // namespace troupe::tools
