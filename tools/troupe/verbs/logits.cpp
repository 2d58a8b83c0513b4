#include <cstdio>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/files/safetensors.h>
#include <troupe/model/local/evaluate.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/ids.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct LogitsOptions {
  CommonOptions common;
  std::string model, ids, types, out;
  std::optional<kernels::KvType> kv_type;
  int threads = 0;
  std::size_t chunk = model::kPromptChunk;
};

Result<std::vector<std::uint8_t>> token_types(const LogitsOptions& options) {
  std::vector<std::uint8_t> types;
  if (options.types.empty()) return types;
  TROUPE_ASSIGN_OR_RETURN(const auto values, parse_ids(options.types, "--token-types"));
  for (const model::TokenId value : values) {
    if (value > 255) {
      return Status(Code::kInvalidArgument,
                    "--token-types holds " + std::to_string(value) + ", expected 0 to 255");
    }
    types.push_back(static_cast<std::uint8_t>(value));
  }
  return types;
}

// Checks that the results do not overwrite a file from which the model is read.
Status check_out(const LogitsOptions& options) {
  namespace fs = std::filesystem;
  std::error_code none;
  const fs::path out(options.out), model(options.model);
  const fs::path parent = out.has_parent_path() ? out.parent_path() : ".";
  const bool is_model = fs::equivalent(out, model, none);
  const bool in_model =
      fs::is_directory(model, none) && fs::exists(out, none) && fs::equivalent(parent, model, none);
  if (!is_model && !in_model) return Status::ok();
  return Status(Code::kInvalidArgument, options.out + " is a file of the model " + options.model +
                                            "; give another name for the results (--out)");
}

// Returns the shape of the tensor that was written.
Result<std::vector<std::uint64_t>> compute(const LogitsOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const auto ids, parse_ids(options.ids, "--ids"));
  TROUPE_ASSIGN_OR_RETURN(const auto types, token_types(options));
  TROUPE_RETURN_IF_ERROR(check_out(options));
  TROUPE_ASSIGN_OR_RETURN(LocalModel loaded, load_local_model(options.common.home, options.model,
                                                              {options.threads, options.kv_type}));
  const model::ModelConfig& config = loaded.stage->config();
  const bool has_head = config.outputs() > 0;
  TROUPE_ASSIGN_OR_RETURN(const std::vector<float> values,
                          has_head
                              ? model::sequence_logits(*loaded.stage, ids, types, options.chunk)
                              : model::sequence_hidden(*loaded.stage, ids, types));
  std::vector<std::uint64_t> shape{has_head ? config.outputs() : config.channels};
  if (config.causal || !has_head) shape.insert(shape.begin(), ids.size());
  const model::F32Tensor tensor{has_head ? "logits" : "hidden", shape, values};
  TROUPE_RETURN_IF_ERROR(model::write_safetensors(options.out, {&tensor, 1}));
  return shape;
}

int run_logits(const LogitsOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<std::vector<std::uint64_t>> shape = compute(options);
  if (!shape) return fail(shape.status(), options.common.json);
  if (options.common.json) {
    print_json({{"file", options.out}, {"shape", *shape}});
  } else {
    say("wrote the results of " + options.model + " to " + options.out);
  }
  return kExitOk;
}

}  // namespace

Action add_logits(CLI::App& app) {
  auto options = std::make_shared<LogitsOptions>();
  add_model_argument(app, options->model);
  app.add_option("--ids", options->ids, "Token ids, e.g. 504,3575")->required()->type_name("IDS");
  app.add_option("--token-types", options->types, "Segment of each token, for BERT [all 0]")
      ->type_name("TYPES");
  app.add_option("-o,--out", options->out, "The safetensors file to write")
      ->required()
      ->type_name("FILE");
  app.add_option("--chunk", options->chunk, "Tokens in a step; the logits do not depend on it")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  add_kv_option(app, options->kv_type);
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Writes one f32 tensor. For a decoder it is \"logits\" (T,V), a row for every position, and\n"
      "for a classifier \"logits\" (L). For an encoder without a head it is \"hidden\" (T,C), the\n"
      "result of the last layer. The model's folder needs no tokenizer.\n"
      "\n"
      "Examples:\n"
      "  troupe logits smollm2-135m --ids 504,3575,282 -o out.safetensors\n"
      "  troupe logits ./bert-folder --ids 101,7592,102 -o out.safetensors --json\n"
      "                            {\"file\",\"shape\"}");
  return [options] { return run_logits(*options); };
}

}  // namespace troupe::tools
