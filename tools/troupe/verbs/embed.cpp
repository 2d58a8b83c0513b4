#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/local/embedding.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/dataset.h>
#include <troupe/runtime/text/json_file.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/text_rows.h>

namespace troupe::tools {
namespace {

constexpr std::size_t kLengthMax = 512;  // of a text, where the model's folder says nothing

struct EmbedOptions {
  CommonOptions common;
  std::string model, adapter, pooling;
  TextInput input;
  std::size_t length_max = 0;
  int threads = 0;
};

// How texts become embeddings, according to the files that sentence-transformers writes into the
// model's folder.
struct EmbeddingFolder {
  model::EmbeddingOptions options;
  std::size_t length_max = kLengthMax;
};

Result<model::Pooling> pooling_of(const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json config, read_json_file(path, std::size_t{1} << 20));
  std::string kind;
  if (read_field(config, "pooling_mode", &kind)) {
    if (kind == "mean") return model::Pooling::kMean;
    if (kind == "cls") return model::Pooling::kFirst;
  } else {
    std::vector<std::string> kinds;  // the kinds of pooling whose results are concatenated
    for (const auto& [field, value] : config.items())
      if (field.starts_with("pooling_mode_") && value.is_boolean() && value.get<bool>())
        kinds.push_back(field);
    if (kinds == std::vector<std::string>{"pooling_mode_mean_tokens"}) return model::Pooling::kMean;
    if (kinds == std::vector<std::string>{"pooling_mode_cls_token"}) return model::Pooling::kFirst;
  }
  return Status(Code::kFailedPrecondition, path.string() +
                                               " asks for a pooling that is neither the mean nor "
                                               "the first token; choose one with --pooling");
}

// Says whether the modules of sentence-transformers end in a normalization. Any modules other than
// the model, its pooling and that would change the vectors.
Result<bool> normalizes(const nlohmann::json& modules, const std::filesystem::path& path) {
  bool found = false;
  for (const nlohmann::json& module : modules) {
    std::string type;
    read_field(module, "type", &type);
    const std::string name = type.substr(type.rfind('.') + 1);
    found |= name == "Normalize";
    if (name != "Transformer" && name != "Pooling" && name != "Normalize")
      return Status(Code::kFailedPrecondition,
                    path.string() + " names the module " + in_quotes(type, 80) +
                        ", which this version cannot compute; it knows Transformer, Pooling and "
                        "Normalize");
  }
  return found;
}

Result<EmbeddingFolder> read_folder(const EmbedOptions& options) {
  EmbeddingFolder out;
  const std::filesystem::path folder = options.model;
  std::error_code error;
  const auto has = [&](const char* name) {
    return std::filesystem::is_regular_file(folder / name, error);
  };
  if (has("modules.json")) {
    TROUPE_ASSIGN_OR_RETURN(const nlohmann::json modules,
                            read_json_file(folder / "modules.json", std::size_t{1} << 20));
    TROUPE_ASSIGN_OR_RETURN(out.options.normalizes, normalizes(modules, folder / "modules.json"));
  }
  if (has("sentence_bert_config.json")) {
    TROUPE_ASSIGN_OR_RETURN(
        const nlohmann::json config,
        read_json_file(folder / "sentence_bert_config.json", std::size_t{1} << 20));
    std::uint64_t length = 0;
    if (read_field(config, "max_seq_length", &length) && length > 0) out.length_max = length;
  }
  if (!options.pooling.empty()) {
    out.options.pooling = options.pooling == "cls" ? model::Pooling::kFirst : model::Pooling::kMean;
  } else if (has("1_Pooling/config.json")) {
    TROUPE_ASSIGN_OR_RETURN(out.options.pooling, pooling_of(folder / "1_Pooling/config.json"));
  }
  return out;
}

Result<int> embed(const EmbedOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::string> texts, read_texts(options.input));
  TROUPE_ASSIGN_OR_RETURN(const EmbeddingFolder folder, read_folder(options));
  LocalModelOptions local;
  local.threads = options.threads;
  local.adapter = options.adapter;
  local.without_head = true;
  TROUPE_ASSIGN_OR_RETURN(const LocalModel loaded,
                          load_local_model(options.common.home, options.model, local));
  const model::ModelConfig& config = loaded.stage->config();
  if (config.causal)
    return Status(Code::kInvalidArgument,
                  "the model is a decoder (" + config.family +
                      "); embeddings are computed by encoders such as BERT");
  const model::GgufHeader& header = loaded.source->header();
  if (!model::has_tokenizer(header)) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, model::open_tokenizer(header, config.vocabulary));
  model::DatasetOptions dataset;
  dataset.length_max = std::min(options.length_max != 0 ? options.length_max : folder.length_max,
                                config.context_max);
  for (const std::string& text : texts) {
    bool truncated = false;
    TROUPE_ASSIGN_OR_RETURN(const std::vector<model::TokenId> ids,
                            model::encode_text(text, *tokenizer, dataset, &truncated));
    if (ids.empty()) return Status(Code::kInvalidArgument, "a text has no tokens");
    TROUPE_ASSIGN_OR_RETURN(const std::vector<float> embedding,
                            model::embed_text(*loaded.stage, ids, folder.options));
    if (options.common.json) {
      print_json({{"embedding", embedding}, {"tokens", ids.size()}, {"truncated", truncated}});
      continue;
    }
    for (std::size_t i = 0; i < embedding.size(); ++i)
      std::printf("%s%.9g", i == 0 ? "" : " ", static_cast<double>(embedding[i]));
    std::printf("\n");
  }
  return kExitOk;
}

int run_embed(const EmbedOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<int> status = embed(options);
  return status ? *status : fail(status.status(), options.common.json);
}

}  // namespace

Action add_embed(CLI::App& app) {
  auto options = std::make_shared<EmbedOptions>();
  add_model_argument(app, options->model);
  CLI::Option* text =
      app.add_option("TEXT", options->input.text, "A text, or - for the lines of stdin")
          ->type_name("");
  app.add_option("-f,--file", options->input.file, "Texts: .jsonl, .csv, or lines; - for stdin")
      ->type_name("FILE");
  app.add_option("--text-field", options->input.text_field, "Field of a row's text")
      ->capture_default_str();
  app.add_option("--adapter", options->adapter,
                 "The folder of a LoRA adapter to compute beside the model's weights")
      ->type_name("DIR");
  app.add_option("--pooling", options->pooling,
                 "The embedding of a text: the mean of its rows, or its first row [what the "
                 "model's folder says, or mean]")
      ->check(CLI::IsMember({"mean", "cls"}));
  app.add_option("--max-length", options->length_max,
                 "Tokens of a text; longer ones are cut [what the folder says, or 512]")
      ->check(whole_number(3, 1 << 20));
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Prints the embedding of each text, one line of numbers for each; with --json, an object.\n"
      "How rows become an embedding is read from the files of sentence-transformers in the\n"
      "model's folder (modules.json, 1_Pooling), if there are any.\n"
      "\n"
      "Examples:\n"
      "  troupe embed ./all-MiniLM-L6-v2 \"A game about trains\"\n"
      "  troupe embed ./all-MiniLM-L6-v2 -f texts.jsonl --json\n"
      "  troupe embed ./all-MiniLM-L6-v2 --adapter ./adapter \"A game about trains\"");
  return [options, text] {
    options->input.has_text = text->count() > 0;
    return run_embed(*options);
  };
}

}  // namespace troupe::tools
