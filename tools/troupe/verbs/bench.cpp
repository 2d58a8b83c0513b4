#include <algorithm>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/bench_cluster.h>
#include <troupe/tools/troupe/verbs/bench_shared_prefix.h>

namespace troupe::tools {
namespace {

struct BenchOptions {
  CommonOptions common;
  std::string model, cluster, layers, device;
  int threads = 0;
  std::optional<kernels::KvType> kv_type;
  bool f16_activations = false, replicas = false, speculation = false;
  std::size_t prompt = 512, decode = 64, repeats = 3;
  std::size_t shared_prefix = 0, requests = 16;
  std::string batch;
};

// Splits "1,4,16" into numbers of sequences.
Result<std::vector<std::size_t>> parse_batches(const std::string& text) {
  constexpr std::uint64_t kSequencesMax = 1024;
  std::vector<std::size_t> batches;
  for (std::size_t at = 0; !text.empty() && at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string one = text.substr(at, comma - at);
    const std::optional<std::uint64_t> count = read_whole_number(one);
    if (!count || *count < 1 || *count > kSequencesMax) {
      return Status(Code::kInvalidArgument, "--batch is '" + text + "', in which '" + one +
                                                "' is not a whole number from 1 to " +
                                                std::to_string(kSequencesMax) +
                                                "; write for example 1,4,16");
    }
    batches.push_back(*count);
    at = comma + 1;
  }
  return batches;
}

// The result of either measurement.
struct Figures {
  model::BenchResult one;
  std::vector<model::BatchRate> batches;
  std::string isa, where;  // where: "2 threads", or "layers 0-14 on head, ..."
  std::uint64_t resident_bytes = 0;
  std::vector<StageReport> stages;  // only of a cluster
};

// Returns the number of ids that prompts may have.
Result<std::size_t> vocabulary_of(const model::Store& store, const std::string& name) {
  const auto path = store.resolve(name);
  if (!path)
    return std::size_t{256};  // any model has these ids, even one that only the cluster has
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(path->string()));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  return config.vocabulary;
}

Result<Figures> measure_process(const BenchOptions& options) {
  if (!options.layers.empty())
    return Status(Code::kInvalidArgument, "--layers needs a cluster; name it with --cluster");
  if (options.replicas)
    return Status(Code::kInvalidArgument, "--replicas needs a cluster; name it with --cluster");
  if (options.speculation)
    return Status(Code::kInvalidArgument, "--speculation needs a cluster; name it with --cluster");
  TROUPE_ASSIGN_OR_RETURN(const auto sizes, parse_batches(options.batch));
  TROUPE_ASSIGN_OR_RETURN(const LocalModel loaded,
                          load_local_model(options.common.home, options.model,
                                           {options.threads, options.kv_type,
                                            options.f16_activations, options.device}));
  Figures figures;
  TROUPE_ASSIGN_OR_RETURN(figures.one, model::run_bench(*loaded.stage, options.prompt,
                                                        options.decode, options.repeats));
  TROUPE_ASSIGN_OR_RETURN(figures.batches, model::run_batch_bench(*loaded.stage, sizes,
                                                                  options.decode, options.repeats));
  figures.isa = kernels::isa_name(loaded.device->kernels().isa);
  figures.where = std::to_string(loaded.device->threads()) + " threads";
  if (const Accelerator* accelerator = loaded.device->accelerator()) {
    figures.isa = accelerator->architecture();
    figures.where = accelerator->name();
  }
  figures.resident_bytes = resident_bytes_max();
  return figures;
}

Status check_cluster_options(const BenchOptions& options) {
  if (!options.device.empty())
    return Status(Code::kInvalidArgument, "--device concerns this process, not a cluster");
  if (options.threads != 0)
    return Status(Code::kInvalidArgument,
                  "--threads is for this process; a cluster's daemons have their own (troupe start "
                  "--threads)");
  return Status::ok();
}

// Sets what both measurements of a cluster have in their options. `brings`: the model is opened as
// prepare_model says for a cluster.
template <class Ask>
Status fill_in(const BenchOptions& options, bool brings, Ask* ask) {
  const std::string& home = options.common.home;
  TROUPE_ASSIGN_OR_RETURN(const auto store, open_store(home));
  TROUPE_ASSIGN_OR_RETURN(ask->model, prepare_model(*store, home, options.model, brings));
  TROUPE_ASSIGN_OR_RETURN(ask->vocabulary, vocabulary_of(*store, ask->model));
  if (!options.layers.empty()) {
    TROUPE_ASSIGN_OR_RETURN(ask->layers, model::parse_layer_ranges(options.layers));
  }
  ask->kv_type = options.kv_type;
  ask->f16_activations = options.f16_activations;
  ask->speculation = options.speculation;
  ask->decode = options.decode;
  ask->repeats = options.repeats;
  return Status::ok();
}

Result<Figures> measure_cluster(const BenchOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_cluster_options(options));
  ClusterBenchOptions ask;
  TROUPE_RETURN_IF_ERROR(fill_in(options, true, &ask));
  ask.replicas = options.replicas;
  ask.prompt = options.prompt;
  TROUPE_ASSIGN_OR_RETURN(ask.batches, parse_batches(options.batch));
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(options.common.home, options.cluster));
  TROUPE_ASSIGN_OR_RETURN(const ClusterBench measured, bench_cluster(cluster, ask));
  Figures figures{measured.one, measured.batches,        measured.isa,
                  "",           measured.resident_bytes, measured.stages};
  for (const StageReport& stage : figures.stages)
    figures.where +=
        (figures.where.empty() ? "layers " : ", ") + stage.layers + " on " + stage.node;
  return figures;
}

nlohmann::json figures_json(const Figures& figures) {
  auto batch = nlohmann::json::array();
  for (const model::BatchRate& one : figures.batches)
    batch.push_back({{"n", one.sequences}, {"decode_tok_s", one.decode_tok_s}});
  nlohmann::json object = {{"prompt_tok_s_median", figures.one.prompt_tok_s_median},
                           {"prompt_tok_s_best", figures.one.prompt_tok_s_best},
                           {"decode_tok_s_median", figures.one.decode_tok_s_median},
                           {"decode_tok_s_best", figures.one.decode_tok_s_best},
                           {"batch", batch},
                           {"isa", figures.isa},
                           {"rss_bytes", figures.resident_bytes}};
  for (const StageReport& stage : figures.stages)
    object["nodes"].push_back({{"name", stage.node}, {"layers", stage.layers}});
  return object;
}

bool is_here(const BenchOptions& options) {
  return options.cluster.empty() || options.cluster == "none";
}

Result<SharedPrefixBench> measure_shared_prefix(const BenchOptions& options) {
  const bool here = is_here(options);
  if (!here) TROUPE_RETURN_IF_ERROR(check_cluster_options(options));
  if (here && !options.layers.empty())
    return Status(Code::kInvalidArgument, "--layers needs a cluster; name it with --cluster");
  SharedPrefixOptions ask;
  TROUPE_RETURN_IF_ERROR(fill_in(options, !here, &ask));
  ask.prefix = options.shared_prefix;
  ask.requests = options.requests;
  TROUPE_ASSIGN_OR_RETURN(OpenCluster opened,
                          open_cluster(options.common.home, here ? "none" : options.cluster,
                                       options.threads, options.device));
  return bench_shared_prefix(opened.cluster, ask);
}

int run_shared_prefix(const BenchOptions& options) {
  const Result<SharedPrefixBench> measured = measure_shared_prefix(options);
  if (!measured) return fail(measured.status(), options.common.json);
  if (options.common.json) {
    print_json(
        {{"requests", options.requests},
         {"prefix_tokens", options.shared_prefix},
         {"end_tokens", SharedPrefixBench::kEndTokens},
         {"decode_tokens", options.decode},
         {"first_token_ms", {{"cold", measured->cold_first_ms}, {"warm", measured->warm_first_ms}}},
         {"tok_s",
          {{"apart", measured->apart_tok_s},
           {"cold", measured->cold_tok_s},
           {"warm", measured->warm_tok_s}}},
         {"cached_tokens", {{"cold", measured->cold_cached}, {"warm", measured->warm_cached}}}});
    return kExitOk;
  }
  std::printf("one request, prefix of %zu tokens   first token %9.1f ms cold   %9.1f ms warm\n",
              options.shared_prefix, measured->cold_first_ms, measured->warm_first_ms);
  std::printf("%zu requests, %zu tokens each        %9.1f tokens/s apart, %.1f cold, %.1f warm\n",
              options.requests, options.decode, measured->apart_tok_s, measured->cold_tok_s,
              measured->warm_tok_s);
  std::printf("prompt tokens that were computed before: %llu cold, %llu warm\n",
              static_cast<unsigned long long>(measured->cold_cached),
              static_cast<unsigned long long>(measured->warm_cached));
  return kExitOk;
}

int run_bench_verb(const BenchOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  if (options.shared_prefix > 0) return run_shared_prefix(options);
  const bool here = is_here(options);
  const Result<Figures> measured = here ? measure_process(options) : measure_cluster(options);
  if (!measured) return fail(measured.status(), options.common.json);
  if (options.common.json) {
    print_json(figures_json(*measured));
    return kExitOk;
  }
  std::printf("prompt of %zu tokens  %9.1f tokens/s median  %9.1f best\n", options.prompt,
              measured->one.prompt_tok_s_median, measured->one.prompt_tok_s_best);
  std::printf("decode of %zu tokens  %9.1f tokens/s median  %9.1f best\n", options.decode,
              measured->one.decode_tok_s_median, measured->one.decode_tok_s_best);
  for (const model::BatchRate& one : measured->batches)
    std::printf("%3zu sequences      %9.1f tokens/s in all\n", one.sequences, one.decode_tok_s);
  std::printf("%s, %s, at most %s resident\n", measured->where.c_str(), measured->isa.c_str(),
              format_bytes(measured->resident_bytes).c_str());
  return kExitOk;
}

}  // namespace

Action add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  add_model_argument(app, options->model);
  app.add_option("-t,--threads", options->threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  CLI::Option* prompt =
      app.add_option("--prompt", options->prompt, "The number of tokens in the prompt")
          ->check(whole_number(1, 1 << 24))
          ->capture_default_str();
  app.add_option("--decode", options->decode, "Tokens generated after it")
      ->check(whole_number(1, 1 << 24))
      ->capture_default_str();
  app.add_option("--repeats", options->repeats, "Measurements, after a warm-up")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  CLI::Option* batch = app.add_option("--batch", options->batch,
                                      "Also decode these numbers of sequences at once, e.g. 1,4,16")
                           ->type_name("N,...");
  CLI::Option* shared = app.add_option("--shared-prefix", options->shared_prefix,
                                       "Instead, measure requests whose prompts share this number "
                                       "of first tokens, and what they gain by that")
                            ->check(whole_number(1, 1 << 24))
                            ->excludes(prompt)
                            ->excludes(batch);
  app.add_option("--requests", options->requests, "With --shared-prefix: requests at once")
      ->check(whole_number(1, 128))
      ->capture_default_str()
      ->needs(shared);
  add_device_option(app, options->device);
  add_kv_option(app, options->kv_type);
  add_activations_option(app, options->f16_activations);
  shared->excludes(app.add_flag(
      "--replicas", options->replicas,
      "With --cluster: let replicas of the model take part in --batch (they are made when a "
      "model is busy and fits on nodes that hold none of its layers)"));
  app.add_flag("--speculation", options->speculation,
               "With --cluster or --shared-prefix: draft tokens, as `run` does (off by default, "
               "because the answers of a measurement repeat themselves more than others)");
  app.add_option("--cluster", options->cluster,
                 "Measure this cluster, [TOKEN@]HOST:PORT of its head, not this process")
      ->type_name("ADDRESS");
  app.add_option("--layers", options->layers,
                 "Which node of the cluster gets which layers, e.g. 0-14,15-29");
  add_common_options(app, options->common);
  app.footer(
      "Measures this process, even if a daemon runs, unless --cluster names a cluster: then it\n"
      "measures the nodes and the connections between them, as a client that gets the tokens.\n"
      "TROUPE_ISA=scalar|avx2|avx512 selects the kernels of this process. --json prints\n"
      "{\"prompt_tok_s_median\",\"prompt_tok_s_best\",\"decode_tok_s_median\",\n"
      "\"decode_tok_s_best\",\"batch\":[{\"n\",\"decode_tok_s\"}],\"isa\",\"rss_bytes\"}.\n"
      "The figure of a batch is the total of its sequences, and rss_bytes is the most memory that\n"
      "was resident (for a cluster, that of its stages together, which are\n"
      "\"nodes\":[{\"name\",\"layers\"}]).\n"
      "\n"
      "--shared-prefix measures a request alone whose prefix is new (cold) or has been computed\n"
      "before (warm), and --requests of them at once, which may use each other's prefix or are\n"
      "kept apart. Each prompt ends with 16 tokens of its own. Its --json is {\"requests\",\n"
      "\"prefix_tokens\",\"end_tokens\",\"decode_tokens\",\"first_token_ms\":{\"cold\",\"warm\"},\n"
      "\"tok_s\":{\"apart\",\"cold\",\"warm\"},\"cached_tokens\":{\"cold\",\"warm\"}}.\n"
      "\n"
      "Examples:\n"
      "  troupe bench smollm2-135m\n"
      "  troupe bench smollm2-135m --shared-prefix 1000 --requests 16 --decode 32\n"
      "  troupe bench smollm2-135m --threads 2 --batch 1,4,16 --repeats 3 --json\n"
      "  troupe bench smollm2-135m --batch 8 --cluster 127.0.0.1:7700");
  return [options] { return run_bench_verb(*options); };
}

}  // namespace troupe::tools
