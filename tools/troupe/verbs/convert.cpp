#include <algorithm>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/convert/convert.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  CommonOptions common;
  std::string model, to, type, output;
  int threads = 0;
};

std::string recipe_names() {
  std::string names;
  for (const model::Recipe& recipe : model::recipes())
    names += (names.empty() ? "" : ", ") + std::string(recipe.name);
  return names;
}

// Finds the type, and refuses one that the new file cannot have.
Result<const model::Recipe*> find_type(const ConvertOptions& options) {
  const bool to_gguf = options.to == "gguf";
  const std::string name = !options.type.empty() ? options.type : to_gguf ? "F16" : "F32";
  const model::Recipe* recipe = model::find_recipe(name);
  if (recipe == nullptr)
    return Status(
        Code::kInvalidArgument,
        "the type \"" + name + "\" cannot be written; --type takes one of " + recipe_names());
  if (!to_gguf && recipe->type != quant::Type::kF32 && recipe->type != quant::Type::kF16 &&
      recipe->type != quant::Type::kBF16)
    return Status(Code::kInvalidArgument,
                  "safetensors files are written in F32, F16 or BF16, not "
                  "in " +
                      std::string(recipe->name) + "; for that take --to gguf");
  return recipe;
}

// Refuses to overwrite the model that is read, and anything that is not a file (a folder).
Status check_output(const ConvertOptions& options, const fs::path& input) {
  std::error_code error;
  const fs::path output(options.output);
  TROUPE_ASSIGN_OR_RETURN(std::vector<fs::path> inputs, model::model_files(input));
  inputs.push_back(input);
  const bool is_same = std::any_of(inputs.begin(), inputs.end(), [&](const fs::path& one) {
    return fs::equivalent(one, output, error) ||
           fs::equivalent(one, output / "model.safetensors", error);
  });
  if (is_same)
    return Status(Code::kInvalidArgument, options.output +
                                              " is the model that is converted; give another "
                                              "output");
  if (options.to == "gguf" && fs::is_directory(output, error))
    return Status(Code::kInvalidArgument,
                  options.output + " is a folder; give the name of the new file, such as " +
                      (output / "model.gguf").string());
  if (options.to != "gguf" && fs::exists(output, error) && !fs::is_directory(output, error))
    return Status(
        Code::kInvalidArgument,
        options.output + " is a file; a safetensors model is a folder: give another name");
  return Status::ok();
}

Result<int> convert(const ConvertOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const model::Recipe* recipe, find_type(options));
  const std::string& home = options.common.home;
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(home));
  TROUPE_ASSIGN_OR_RETURN(const fs::path path, model_file(*store, home, options.model));
  TROUPE_RETURN_IF_ERROR(check_output(options, path));
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const model::ModelConfig config,
                          model::config_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create({.threads = options.threads}));
  TROUPE_ASSIGN_OR_RETURN(
      const model::Converted converted,
      options.to == "gguf"
          ? model::convert_to_gguf(*source, config, *recipe, options.output, *pool)
          : model::convert_to_folder(*source, config, recipe->type, options.output));
  if (converted.requantized)
    say("the model was quantized already, and the error of both formats adds up; its unquantized "
        "weights would give a better " +
        std::string(recipe->name));
  if (options.common.json) {
    print_json({{"output", options.output},
                {"sha256", converted.sha256},
                {"bytes", converted.bytes},
                {"type", recipe->name},
                {"formats", converted.formats},
                {"requantized", converted.requantized}});
    return kExitOk;
  }
  std::printf("%s\n", options.output.c_str());
  std::string formats;
  for (const auto& [name, count] : converted.formats)
    formats += (formats.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  say("wrote " + format_bytes(converted.bytes) + " (tensors: " + formats + "); SHA-256 " +
      converted.sha256);
  return kExitOk;
}

int run_convert(const ConvertOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<int> status = convert(options);
  return status ? *status : fail(status.status(), options.common.json);
}

}  // namespace

Action add_convert(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  add_model_argument(app, options->model);
  app.add_option("--to", options->to, "gguf (a file) or safetensors (a folder)")
      ->required()
      ->check(CLI::IsMember({"gguf", "safetensors"}))
      ->type_name("FORM");
  app.add_option("-o,--output", options->output, "The new file or folder")
      ->required()
      ->type_name("PATH");
  app.add_option("--type", options->type,
                 "Format of the matrices: " + recipe_names() + " [GGUF: F16, safetensors: F32]")
      ->type_name("TYPE");
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4, TQ1_0 and TQ2_0 have the bytes that the Python\n"
      "package gguf writes. TQ1_0 and TQ2_0 only suit weights that were trained to be ternary.\n"
      "K-quants and IQ4 are mixtures: each tensor gets the format that llama-quantize chooses.\n"
      "Vectors stay F32, and a matrix whose rows are not whole blocks of a format gets\n"
      "another. A file of the same name is replaced only when the new one is complete. Its\n"
      "bytes do not depend on threads or the CPU.\n"
      "\n"
      "Examples:\n"
      "  troupe convert ./folder --to gguf --type Q4_K_M -o model-Q4_K_M.gguf\n"
      "  troupe convert model.gguf --to safetensors --type BF16 -o folder\n"
      "  troupe convert model.gguf --to gguf -o x.gguf --json   {\"output\",\"sha256\",\"bytes\",\n"
      "                            \"type\",\"formats\":{NAME:TENSORS},\"requantized\"}");
  return [options] { return run_convert(*options); };
}

}  // namespace troupe::tools
