#include <cstdio>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct ShowOptions {
  CommonOptions common;
  std::string model;
};

struct Description {
  std::string path, sha256;
  std::uint64_t bytes = 0, parameters = 0;
  std::map<std::string, std::uint64_t> formats;  // name -> parameters
  std::string tokenizer;                         // "" when the model has none
  std::string kv_type;
  model::ModelConfig config;
};

std::string tokenizer_of(const model::GgufHeader& header) {
  if (const auto kind = header.string("tokenizer.ggml.model")) {
    const auto pre = header.string("tokenizer.ggml.pre");
    return *kind + (pre ? " (" + *pre + ")" : "");
  }
  if (header.metadata.contains(model::header_keys::kTokenizerJson)) return "tokenizer.json";
  return header.metadata.contains(model::header_keys::kVocabTxt) ? "vocab.txt" : "";
}

Result<Description> describe(const ShowOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path,
                          model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(path.string()));
  Description out;
  TROUPE_ASSIGN_OR_RETURN(out.config, model::config_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const model::Manifest manifest, store->manifest(path));
  out.path = path.string();
  out.sha256 = manifest.model;
  out.bytes = manifest.file_bytes;
  for (const model::TensorInfo& tensor : source->header().tensors) {
    std::uint64_t elements = 1;
    for (const std::uint64_t size : tensor.shape) elements *= size;
    out.parameters += elements;
    out.formats[std::string(quant::find(tensor.type)->name)] += elements;
  }
  out.tokenizer = tokenizer_of(source->header());
  out.kv_type = model::default_kv_type(source->header()) == kernels::KvType::kF32 ? "f32" : "f16";
  return out;
}

void print_json_of(const Description& model) {
  const model::ModelConfig& c = model.config;
  nlohmann::json formats = nlohmann::json::object();
  for (const auto& [name, parameters] : model.formats) formats[name] = parameters;
  print_json({{"family", c.family},
              {"path", model.path},
              {"sha256", model.sha256},
              {"bytes", model.bytes},
              {"parameters", model.parameters},
              {"formats", formats},
              {"layers", c.layers},
              {"channels", c.channels},
              {"ffn_channels", c.ffn_channels},
              {"heads", c.heads},
              {"kv_heads", c.kv_heads},
              {"head_dim", c.head_dim},
              {"vocabulary", c.vocabulary},
              {"context", c.context_max},
              {"window", c.window},
              {"labels", c.labels},
              {"kv", model.kv_type},
              {"tokenizer",
               model.tokenizer.empty() ? nlohmann::json() : nlohmann::json(model.tokenizer)}});
}

void print_text_of(const Description& model) {
  const model::ModelConfig& c = model.config;
  const auto row = [](const char* name, const std::string& value) {
    std::printf("%-11s %s\n", name, value.c_str());
  };
  row("family", c.family + (c.causal ? "" : ", an encoder"));
  row("file", model.path);
  row("sha256", model.sha256);
  row("size", format_bytes(model.bytes));
  row("parameters", format_number(static_cast<double>(model.parameters) / 1e6, 1) + " million");
  std::string formats;
  for (const auto& [name, parameters] : model.formats) {
    const double share = 100.0 * static_cast<double>(parameters) /
                         static_cast<double>(std::max<std::uint64_t>(model.parameters, 1));
    formats += (formats.empty() ? "" : ", ") + name + " " + format_number(share, 1) + " %";
  }
  row("formats", formats);
  row("layers", std::to_string(c.layers) + " of " + std::to_string(c.channels) +
                    " channels, feed-forward " + std::to_string(c.ffn_channels));
  row("attention", std::to_string(c.heads) + " heads and " + std::to_string(c.kv_heads) +
                       " key/value heads of " + std::to_string(c.head_dim) +
                       (c.window > 0 ? ", window " + std::to_string(c.window) : ""));
  row("vocabulary", std::to_string(c.vocabulary));
  row("context", std::to_string(c.context_max) + " positions, keys and values in " + model.kv_type);
  if (c.labels > 0) row("labels", std::to_string(c.labels));
  row("tokenizer", model.tokenizer.empty() ? "none: give token ids" : model.tokenizer);
}

int show(const ShowOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<Description> described = describe(options);
  if (!described) return fail(described.status(), options.common.json);
  if (options.common.json) {
    print_json_of(*described);
  } else {
    print_text_of(*described);
  }
  return kExitOk;
}

}  // namespace

Action add_show(CLI::App& app) {
  auto options = std::make_shared<ShowOptions>();
  add_model_argument(app, options->model);
  add_common_options(app, options->common);
  app.footer(
      "Reads the header only, and hashes the file the first time.\n"
      "\n"
      "Examples:\n"
      "  troupe show smollm2-135m\n"
      "  troupe show ./folder --json   {\"family\",\"path\",\"sha256\",\"bytes\",\"parameters\",\n"
      "                            \"formats\":{NAME:PARAMETERS},\"layers\",\"channels\","
      "\"ffn_channels\",\n"
      "                            \"heads\",\"kv_heads\",\"head_dim\",\"vocabulary\",\"context\","
      "\"window\",\n"
      "                            \"labels\",\"kv\",\"tokenizer\"}");
  return [options] { return show(*options); };
}

}  // namespace troupe::tools
