#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/bench.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/logging.h>
#include <troupe/tools/troupe/machine.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string model;
  int threads = 0;
  std::optional<kernels::KvType> kv_type;
  std::size_t prompt = 512, decode = 64, repeats = 3;
  std::vector<std::size_t> batches;
};

int run_bench_verb(const Options& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  Result<LocalModel> loaded =
      load_local_model(options.common.home, options.model, {options.threads, options.kv_type});
  if (!loaded) return fail(loaded.status(), options.common.json);
  Result<model::BenchResult> result =
      model::run_bench(*loaded->stage, options.prompt, options.decode, options.repeats);
  if (!result) return fail(result.status(), options.common.json);
  const auto batches =
      model::run_batch_bench(*loaded->stage, options.batches, options.decode, options.repeats);
  if (!batches) return fail(batches.status(), options.common.json);
  const std::string isa(kernels::isa_name(loaded->device->kernels().isa));
  const std::uint64_t resident = peak_resident_bytes();
  if (options.common.json) {
    auto batch = nlohmann::json::array();
    for (const model::BatchRate& one : *batches)
      batch.push_back({{"n", one.sequences}, {"decode_tok_s", one.decode_tok_s}});
    print_json({{"prompt_tok_s_median", result->prompt_tok_s_median},
                {"prompt_tok_s_best", result->prompt_tok_s_best},
                {"decode_tok_s_median", result->decode_tok_s_median},
                {"decode_tok_s_best", result->decode_tok_s_best},
                {"batch", batch},
                {"isa", isa},
                {"rss_bytes", resident}});
    return kExitOk;
  }
  std::printf("prompt of %zu tokens  %9.1f tokens/s median  %9.1f best\n", options.prompt,
              result->prompt_tok_s_median, result->prompt_tok_s_best);
  std::printf("decode of %zu tokens  %9.1f tokens/s median  %9.1f best\n", options.decode,
              result->decode_tok_s_median, result->decode_tok_s_best);
  for (const model::BatchRate& one : *batches)
    std::printf("%3zu sequences      %9.1f tokens/s in all\n", one.sequences, one.decode_tok_s);
  std::printf("%d threads, %s, at most %s resident\n", loaded->device->threads(), isa.c_str(),
              format_bytes(resident).c_str());
  return kExitOk;
}

}  // namespace

Action add_bench(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->model);
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(CLI::Range(1, 1024));
  app.add_option("--prompt", options->prompt, "Tokens of the prompt")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  app.add_option("--decode", options->decode, "Tokens made after it")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  app.add_option("--repeats", options->repeats, "Measurements, after a warm-up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--batch", options->batches, "Also decode so many sequences at once, e.g. 1,4,16")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  add_kv_option(app, options->kv_type);
  add_common_options(app, options->common);
  app.footer(
      "Measures this process, whatever daemon runs. TROUPE_ISA=scalar|avx2|avx512 forces the\n"
      "kernels. With --json: "
      "{\"prompt_tok_s_median\",\"prompt_tok_s_best\",\"decode_tok_s_median\",\n"
      "\"decode_tok_s_best\",\"batch\":[{\"n\",\"decode_tok_s\"}],\"isa\",\"rss_bytes\"}; a "
      "batch's figure is\n"
      "the total of its sequences, rss_bytes the most memory that was resident.\n"
      "\n"
      "Examples:\n"
      "  troupe bench smollm2-135m\n"
      "  troupe bench smollm2-135m --threads 2 --batch 1,4,16 --repeats 3 --json");
  return [options] { return run_bench_verb(*options); };
}

}  // namespace troupe::tools
