#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct PerplexityOptions {
  CommonOptions common;
  std::string model, file;
  std::size_t window = 512, windows = 4;
  int threads = 0;
  std::optional<kernels::KvType> kv_type;
};

Result<model::Perplexity> measure(const PerplexityOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_text(options.file));
  TROUPE_ASSIGN_OR_RETURN(LocalModel loaded, load_local_model(options.common.home, options.model,
                                                              {options.threads, options.kv_type}));
  if (!model::has_tokenizer(loaded.source->header())) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(
      const std::shared_ptr<const model::Tokenizer> tokenizer,
      model::open_tokenizer(loaded.source->header(), loaded.stage->config().vocabulary));
  model::EncodeOptions encoding;
  encoding.add_special = false;  // windows have no BOS
  TROUPE_ASSIGN_OR_RETURN(const std::vector<model::TokenId> ids, tokenizer->encode(text, encoding));
  if (ids.size() / options.window >= options.windows) {
    say(options.file + " has " + std::to_string(ids.size()) + " tokens, " +
        std::to_string(options.window * options.windows) + " are used");
  }
  return model::perplexity(*loaded.stage, ids, options.window, options.windows);
}

int run_perplexity(const PerplexityOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  Result<model::Perplexity> measured = measure(options);
  if (!measured) return fail(measured.status(), options.common.json);
  if (options.common.json) {
    print_json({{"window_nll", measured->window_nll}, {"mean_nll", measured->mean_nll}});
    return kExitOk;
  }
  for (std::size_t i = 0; i < measured->window_nll.size(); ++i) {
    std::printf("window %zu  %.6f\n", i, measured->window_nll[i]);
  }
  std::printf("mean      %.6f nats per token\n", measured->mean_nll);
  return kExitOk;
}

}  // namespace

Action add_perplexity(CLI::App& app) {
  auto options = std::make_shared<PerplexityOptions>();
  add_model_argument(app, options->model);
  app.add_option("-f,--file", options->file, "The text, or - for stdin")
      ->required()
      ->type_name("FILE");
  app.add_option("--window", options->window, "Number of tokens in a window")
      ->check(whole_number(2, 1 << 24))
      ->capture_default_str();
  app.add_option("--windows", options->windows, "Number of windows, from the beginning of the text")
      ->check(whole_number(1, 1 << 24))
      ->capture_default_str();
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_kv_option(app, options->kv_type);
  add_common_options(app, options->common);
  app.footer(
      "Prints the mean of -log p(token | the tokens before it in its window), in nats. The first\n"
      "token of a window does not count, and no BOS is put before it.\n"
      "\n"
      "Examples:\n"
      "  troupe perplexity smollm2-135m -f /usr/share/common-licenses/GPL-3\n"
      "  troupe perplexity ./model.gguf -f text --window 512 --windows 4 --json\n"
      "                            {\"window_nll\":[...],\"mean_nll\"}");
  return [options] { return run_perplexity(*options); };
}

}  // namespace troupe::tools
