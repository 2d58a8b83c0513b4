#include <cstdio>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/gguf_export.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/model/training/new_heads.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

const std::map<std::string, quant::Type> kTypes{{"F32", quant::Type::kF32},
                                                {"F16", quant::Type::kF16},
                                                {"Q8_0", quant::Type::kQ8_0},
                                                {"Q4_0", quant::Type::kQ4_0},
                                                {"Q4_1", quant::Type::kQ4_1}};

struct ExportOptions {
  CommonOptions common;
  std::string model, adapter, output, type;
  int threads = 0;
};

// Loads the weights of a model in f32, with an adapter merged.
Result<std::unique_ptr<model::Trainer>> load(const ExportOptions& options,
                                             const model::TensorSource& source,
                                             model::ModelConfig config, std::size_t labels,
                                             Device& device) {
  // A trainer without adapter options holds every weight in f32, and these are exported.
  model::TrainerOptions trainer;
  trainer.labels = labels;
  if (labels != 0) {
    TROUPE_ASSIGN_OR_RETURN(trainer.head, model::adapter_head(options.adapter));
  } else if (!config.causal && config.labels == 0) {
    // The model predicts masked tokens, or has no head.
    if (model::has_mask_head(source.header())) {
      trainer.head = model::EncoderHead::kMask;
    } else {
      trainer.network.loss.kind = model::LossKind::kPooled;
    }
  }
  TROUPE_ASSIGN_OR_RETURN(auto made, model::Trainer::create(source, config, device, trainer));
  if (options.adapter.empty()) return made;
  TROUPE_RETURN_IF_ERROR(
      model::read_adapter_folder(options.adapter, made->config(), made->parameters()));
  model::merge_adapters(made->parameters(), device.pool());
  return made;
}

Result<std::string> write(const ExportOptions& options, const model::GgufHeader& header,
                          const std::vector<std::string>& labels, model::Trainer& trainer) {
  if (!options.output.ends_with(".gguf")) {
    if (!options.type.empty() && options.type != "F32")
      return Status(Code::kInvalidArgument, "a Hugging Face folder is written in F32; for " +
                                                options.type +
                                                " give an output that ends in .gguf");
    TROUPE_ASSIGN_OR_RETURN(const model::FolderTexts texts,
                            model::folder_texts(header, trainer.config(), labels));
    return model::write_model_folder(options.output, texts, trainer.config(), trainer.parameters());
  }
  const quant::Type type = kTypes.at(options.type.empty() ? "F16" : options.type);
  TROUPE_ASSIGN_OR_RETURN(const model::GgufMetadata metadata,
                          model::export_metadata(header, trainer.config(), type, labels));
  return model::write_gguf(options.output, metadata, trainer.config(), trainer.parameters(), type);
}

Result<int> export_model(const ExportOptions& options) {
  const std::string& home = options.common.home;
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(home));
  TROUPE_ASSIGN_OR_RETURN(const auto path, model_file(*store, home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const model::ModelConfig config,
                          model::config_from_gguf(source->header()));
  std::vector<std::string> labels;
  if (!options.adapter.empty()) {
    TROUPE_ASSIGN_OR_RETURN(labels, model::adapter_labels(options.adapter));
  }
  TROUPE_ASSIGN_OR_RETURN(const auto device, Device::create({.threads = options.threads}));
  TROUPE_ASSIGN_OR_RETURN(const auto trainer,
                          load(options, *source, config, labels.size(), *device));
  if (labels.empty() && config.labels != 0) labels = model::label_names(source->header());
  TROUPE_ASSIGN_OR_RETURN(const std::string sha256,
                          write(options, source->header(), labels, *trainer));
  if (options.common.json) {
    print_json({{"output", options.output}, {"sha256", sha256}});
  } else {
    std::printf("%s\n", options.output.c_str());
    say("wrote " + std::to_string(trainer->parameters().count()) + " weights; SHA-256 " + sha256);
  }
  return kExitOk;
}

int run_export(const ExportOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<int> status = export_model(options);
  return status ? *status : fail(status.status(), options.common.json);
}

}  // namespace

Action add_export(CLI::App& app) {
  auto options = std::make_shared<ExportOptions>();
  add_model_argument(app, options->model);
  app.add_option("-o,--output", options->output,
                 "A GGUF file if it ends in .gguf, else a Hugging Face folder")
      ->required()
      ->type_name("PATH");
  app.add_option("--adapter", options->adapter, "The folder of an adapter to merge into the model")
      ->type_name("DIR");
  app.add_option("--type", options->type,
                 "Format of the matrices: F32, F16, Q8_0, Q4_0, Q4_1 [GGUF: F16, folder: F32]")
      ->check(CLI::IsMember({"F32", "F16", "Q8_0", "Q4_0", "Q4_1"}));
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Weights of any format first become f32, and an adapter is merged into these, because they\n"
      "are what it was trained on. A GGUF file gets the model's tokenizer, chat template and end\n"
      "tokens.\n"
      "\n"
      "Examples:\n"
      "  troupe export ./tuned -o tuned.gguf --type Q8_0\n"
      "  troupe export smollm2-135m --adapter ./adapter -o merged");
  return [options] { return run_export(*options); };
}

}  // namespace troupe::tools
