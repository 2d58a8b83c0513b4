#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <random>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/config/layer_range.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/ids.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/chat.h>
#include <troupe/tools/troupe/views/chrome_trace.h>

namespace troupe::tools {
namespace {

struct RunOptions {
  CommonOptions common;
  std::string cluster, device, model, prompt, prompt_ids, answer_ids, layers, resume, trace,
      adapter;
  std::size_t from = 0;
  bool has_prompt = false, has_ids = false;
  int threads = 0;
  CLI::Option* seed = nullptr;
  std::vector<std::string> biases;
  GenerateRequest request;
};

// Parses a bias, "ID=VALUE".
Result<model::LogitBias> parse_bias(const std::string& text) {
  model::LogitBias bias;
  const std::size_t equals = std::min(text.find('='), text.size());
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto id = std::from_chars(begin, begin + equals, bias.id);
  const bool has_id = id.ec == std::errc() && id.ptr == begin + equals && bias.id >= 0;
  const auto value = std::from_chars(std::min(begin + equals + 1, end), end, bias.bias);
  if (has_id && value.ec == std::errc() && value.ptr == end) return bias;
  return Status(Code::kInvalidArgument, "--logit-bias is '" + text +
                                            "', expected ID=VALUE such as 504=-2.5 (`troupe "
                                            "tokenize` gives ids)");
}

Status fill_request(RunOptions& options) {
  GenerateRequest& request = options.request;
  if (!options.answer_ids.empty()) {
    if (!options.has_prompt && !options.has_ids) {
      return {Code::kInvalidArgument,
              "--answer-ids continues an answer, and a chat has none yet: give the prompt"};
    }
    TROUPE_ASSIGN_OR_RETURN(request.answer_ids, parse_ids(options.answer_ids, "--answer-ids"));
  }
  for (const std::string& text : options.biases) {
    TROUPE_ASSIGN_OR_RETURN(const model::LogitBias bias, parse_bias(text));
    request.sampling.logit_bias.push_back(bias);
  }
  if (request.sampling.logprobs > 0 && !options.has_prompt && !options.has_ids) {
    return {Code::kInvalidArgument,
            "--logprobs is for one answer, not for a chat: give the prompt"};
  }
  request.trace = !options.trace.empty();
  if (request.trace && !options.has_prompt && !options.has_ids) {
    return {Code::kInvalidArgument, "--trace is for one answer, not for a chat: give the prompt"};
  }
  if (request.trace) {
    // This is checked before the answer is computed.
    const Status writable = check_writable(options.trace);
    if (!writable) return {Code::kInvalidArgument, "--trace: " + writable.message()};
  }
  TROUPE_RETURN_IF_ERROR(model::validate(request.sampling));
  if (!options.layers.empty()) {
    TROUPE_ASSIGN_OR_RETURN(request.layers, model::parse_layer_ranges(options.layers));
  }
  if (options.has_ids) {
    if (options.has_prompt) {
      return {Code::kInvalidArgument, "give a prompt or --prompt-ids, not both"};
    }
    if (!request.system.empty()) {
      return {Code::kInvalidArgument,
              "--prompt-ids is the whole prompt, which has no place for --system"};
    }
    TROUPE_ASSIGN_OR_RETURN(request.prompt_ids, parse_ids(options.prompt_ids, "--prompt-ids"));
    return Status::ok();
  }
  if (request.raw && !request.system.empty()) {
    return {Code::kInvalidArgument, "--raw leaves the chat template out, where --system would go"};
  }
  if (!options.has_prompt) {
    if (options.common.json || request.raw) {
      return {Code::kInvalidArgument, std::string(options.common.json ? "--json" : "--raw") +
                                          " needs a prompt: as an argument, or - for stdin"};
    }
    return Status::ok();  // a chat
  }
  if (options.prompt == "-") {
    TROUPE_ASSIGN_OR_RETURN(request.prompt, read_stdin());
    if (!request.prompt.empty() && request.prompt.back() == '\n') request.prompt.pop_back();
  } else {
    request.prompt = options.prompt;
  }
  if (request.prompt.empty()) {
    return {Code::kInvalidArgument, "the prompt is empty: write a text for the model to continue"};
  }
  return Status::ok();
}

// Draws a new seed if there is no --seed, and prints it, so that the same text can be had again.
void draw_seed(RunOptions& options) {
  model::SamplingParams& sampling = options.request.sampling;
  if (sampling.temperature == 0.0f || options.seed->count() > 0) return;
  sampling.seed = std::random_device()();
  say("drawn with --seed " + std::to_string(sampling.seed));
}

// Makes [{"id","logprob","top":[{"id","logprob"},...]},...], with an entry for each token of the
// answer.
nlohmann::json logprobs_json(const std::vector<std::vector<model::TokenLogprob>>& tokens) {
  nlohmann::json out = nlohmann::json::array();
  for (const std::vector<model::TokenLogprob>& token : tokens) {
    if (token.empty()) continue;
    nlohmann::json top = nlohmann::json::array();
    for (std::size_t i = 1; i < token.size(); ++i) {
      top.push_back({{"id", token[i].id}, {"logprob", token[i].logprob}});
    }
    out.push_back({{"id", token[0].id}, {"logprob", token[0].logprob}, {"top", top}});
  }
  return out;
}

nlohmann::json known(double value) {
  return value > 0 ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json result_json(const GenerateResult& result) {
  nlohmann::json nodes = nlohmann::json::array();
  for (const StageReport& stage : result.nodes) {
    nodes.push_back({{"name", stage.node}, {"layers", stage.layers}});
  }
  nlohmann::json object = {{"text", result.text},
                           {"token_ids", result.token_ids},
                           {"prompt_token_ids", result.prompt_token_ids},
                           {"finish_reason", result.finish_reason},
                           {"cached_tokens", result.cached_tokens},
                           {"prompt_tok_s", known(result.prompt_tok_s)},
                           {"decode_tok_s", known(result.decode_tok_s)},
                           {"ttft_ms", known(result.ttft_ms)},
                           {"nodes", nodes}};
  if (!result.left_out.empty()) object["left_out"] = result.left_out;
  if (!result.error) object["error"] = error_json(result.error);
  if (!result.stream.empty()) object["resume"] = result.stream;
  return object;
}

// Prints a line for each token of the answer: "7042 -0.258 of 7042 -0.258, 260 -2.741".
void say_logprobs(const std::vector<std::vector<model::TokenLogprob>>& tokens) {
  const auto text = [](const model::TokenLogprob& one) {
    return std::to_string(one.id) + " " + format_number(one.logprob, 3);
  };
  for (const std::vector<model::TokenLogprob>& token : tokens) {
    if (token.empty()) continue;
    std::string line = text(token[0]);
    for (std::size_t i = 1; i < token.size(); ++i)
      line += (i == 1 ? " of " : ", ") + text(token[i]);
    say(line);
  }
}

// Writes where the time went, for chrome://tracing. A request that failed before its first token
// has no trace.
Status write_trace(const RunOptions& options, const GenerateResult& answer) {
  if (options.trace.empty()) return Status::ok();
  if (!answer.trace) {
    say("nothing was written to " + options.trace +
        ": the request failed before the cluster could tell where its time went");
    return Status::ok();
  }
  TROUPE_RETURN_IF_ERROR(write_file_atomically(
      options.trace, chrome_trace(*answer.trace, "troupe run " + options.model) + "\n", 0644));
  say("the trace of request " + std::to_string(answer.trace->request) + " is in " + options.trace +
      "; open it in chrome://tracing or ui.perfetto.dev");
  return Status::ok();
}

int answer_once(Cluster& cluster, const RunOptions& options, SignalWatch& watch) {
  std::vector<std::vector<model::TokenLogprob>> logprobs;
  const TokenCallback on_token = [&](const TokenEvent& event) {
    logprobs.push_back(event.logprobs);
    return options.common.json ? watch.count() == 0 : show_token(event, watch);
  };
  GenerateRequest request = options.request;
  request.stop_asked = [&watch] { return watch.count() > 0; };
  Result<GenerateResult> result = options.resume.empty()
                                      ? cluster.generate(request, on_token)
                                      : cluster.resume(options.resume, options.from, on_token);
  GenerateResult answer;
  if (result) {
    answer = std::move(*result);
  } else {  // there was no token yet, which the object says, too
    answer.finish_reason = "error";
    answer.error = result.status();
  }
  if (options.common.json) {
    nlohmann::json object = result_json(answer);
    if (options.request.sampling.logprobs > 0) object["logprobs"] = logprobs_json(logprobs);
    print_json(object);
  } else if (result) {
    std::fputs("\n", stdout);
    std::fflush(stdout);
    say_logprobs(logprobs);
  }
  const Status traced = write_trace(options, answer);
  if (!traced) say(traced.message());
  if (answer.finish_reason == "error") {
    say(answer.error.message());
    if (!answer.stream.empty()) {
      say("`troupe run --resume " + answer.stream + " --from " +
          std::to_string(answer.token_ids.size()) + "` continues it when the head is back");
    }
    return result ? kExitFailure : exit_status(result.code());
  }
  if (!options.common.json) {
    say_cut_off(options.request, answer);
    say_summary(answer);
    if (!answer.left_out.empty()) say(answer.left_out);
  }
  if (!traced) return kExitFailure;
  if (watch.asked_to_end()) return kExitTerminated;
  return watch.count() > 0 ? kExitInterrupted : kExitOk;
}

// Says whether the model is known to have no template. If only the cluster has the model, this is
// not known, and the model is asked with its template.
bool lacks_chat_template(const model::Store& store, const std::string& name) {
  const Result<std::filesystem::path> path = store.resolve(name);
  if (!path) return false;
  const auto model = model::open_model(path->string());
  if (!model) return false;
  const Result<std::string> source = model::chat_source((*model)->header(), /*with_tools=*/false);
  return source && source->empty();
}

int resume(const RunOptions& options) {
  Result<Cluster> cluster = connect_cluster(options.common.home, options.cluster);
  if (!cluster) return fail(cluster.status(), options.common.json);
  SignalWatch watch;
  return answer_once(*cluster, options, watch);
}

int run(RunOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  if (!options.resume.empty()) {
    if (!options.trace.empty()) {
      return fail(
          Status(Code::kInvalidArgument,
                 "--trace is for an answer from its beginning, not for one that is resumed"),
          options.common.json);
    }
    if (!options.adapter.empty())
      return fail(Status(Code::kInvalidArgument,
                         "--resume continues an answer as it was asked for: give no --adapter"),
                  options.common.json);
    if (options.model.empty()) return resume(options);
    return fail(Status(Code::kInvalidArgument,
                       "--resume continues an answer as it was asked for: give no MODEL"),
                options.common.json);
  }
  if (options.model.empty()) {
    return fail(
        Status(Code::kInvalidArgument, "MODEL is missing; `troupe run --help` shows what it takes"),
        options.common.json);
  }
  const std::string& home = options.common.home;
  const bool json = options.common.json;
  if (const Status filled = fill_request(options); !filled) return fail(filled, json);
  const Result<std::string> address = choose_cluster(home, options.cluster);
  if (!address) return fail(address.status(), json);
  Result<std::shared_ptr<model::Store>> store = open_store(home);
  if (!store) return fail(store.status(), json);
  Result<std::string> model = prepare_model(**store, home, options.model, !address->empty());
  if (!model) return fail(model.status(), json);
  if (!options.adapter.empty()) {
    model = adapted_model(**store, home, *model, options.adapter);
    if (!model) return fail(model.status(), json);
  }
  options.request.model = *model;
  draw_seed(options);
  Result<OpenCluster> open = open_cluster(home, options.cluster, options.threads, options.device);
  if (!open) return fail(open.status(), json);
  SignalWatch watch;
  if (options.has_prompt || options.has_ids) return answer_once(open->cluster, options, watch);
  return chat(open->cluster, options.request, lacks_chat_template(**store, *model), watch);
}

// Adds the options for sampling other than temperature and top-p; model/sampling/sampler.h gives
// the order of the steps.
void add_sampling_options(CLI::App& app, RunOptions& options) {
  model::SamplingParams& sampling = options.request.sampling;
  app.add_option("--top-k", sampling.top_k,
                 "Draw from this number of the likeliest tokens [0: all]")
      ->check(whole_number(0, 1 << 24))
      ->type_name("N");
  app.add_option(
      "--min-p", sampling.min_p,
      "Draw from tokens with at least this fraction of the likeliest one's probability [0]");
  app.add_option(
      "--typical", sampling.typical,
      "Draw from the tokens of typical surprise whose probabilities sum to this [1: all]");
  app.add_option("--repeat-penalty", sampling.repeat_penalty,
                 "Make tokens of prompt and answer less likely, as a factor [1: no penalty]");
  app.add_option("--presence-penalty", sampling.presence_penalty,
                 "Subtract this from the logit of a token that occurred in the answer [0]");
  app.add_option("--frequency-penalty", sampling.frequency_penalty,
                 "Subtract this from a token's logit for each time it occurred in the answer [0]");
  app.add_option("--logit-bias", options.biases,
                 "Add VALUE to the logit of token ID; can be given again")
      ->allow_extra_args(false)
      ->type_name("ID=VALUE");
  app.add_option(
         "--logprobs", sampling.logprobs,
         "Print log-probabilities of each token and the N likeliest on stderr, or in --json")
      ->check(whole_number(0, 20))
      ->type_name("N");
}

void add_generation_options(CLI::App& app, RunOptions& options) {
  GenerateRequest& request = options.request;
  app.add_flag("--raw", request.raw, "Continue the prompt as it is, without the chat template");
  app.add_option("--system", request.system, "A system message before the prompt");
  app.add_option("-n,--max-tokens", request.max_tokens, "The maximum number of tokens to generate")
      ->check(whole_number(1, 1 << 24))
      ->capture_default_str();
  app.add_option("--temperature", request.sampling.temperature,
                 "0 takes the likeliest token; a higher value draws more freely")
      ->capture_default_str();
  app.add_option("--top-p", request.sampling.top_p,
                 "Draw from the likeliest tokens whose probabilities sum to this")
      ->capture_default_str();
  add_sampling_options(app, options);
  options.seed =
      app.add_option("--seed", request.sampling.seed,
                     "The same seed gives the same text [drawn at random, and shown on stderr]")
          ->check(whole_number(0, UINT64_MAX))
          ->type_name("N");
  app.add_option("--stop", request.stop, "End before this text; can be given again")
      ->allow_extra_args(false)
      ->type_name("TEXT");
  app.add_option("-t,--threads", options.threads, "Threads of this process [every usable CPU]")
      ->check(whole_number(1, 1024));
  app.add_option("-c,--context", request.context,
                 "Positions that prompt and answer may take [the model's limit]")
      ->check(whole_number(1, 1 << 24));
  app.add_flag_callback(
      "--no-speculation", [&request] { request.speculation = false; },
      "Compute one token in each step, and draft none; the text is the same");
  app.add_option("--adapter", options.adapter,
                 "The folder of a LoRA adapter to compute beside the model's weights")
      ->type_name("DIR");
  add_device_option(app, options.device);
  add_kv_option(app, options.request.kv_type);
  add_activations_option(app, options.request.f16_activations);
  app.add_option("--layers", options.layers,
                 "Which node gets which layers, in the order of `troupe nodes`, e.g. 0-14,15-29");
}

}  // namespace

Action add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  app.add_option("MODEL", options->model,
                 "A name (`troupe ls`; fetched if it is not here), a path of a GGUF file or a "
                 "folder, model:HEX or sha256:HEX")
      ->type_name("");
  CLI::Option* prompt =
      app.add_option("PROMPT", options->prompt, "Text, or - for stdin (without its last newline)")
          ->type_name("");
  CLI::Option* ids = app.add_option("--prompt-ids", options->prompt_ids,
                                    "Token ids instead of text, e.g. 504,3575");
  app.add_option("--answer-ids", options->answer_ids,
                 "Tokens of the answer so far; the answer continues after them");
  app.add_option("--resume", options->resume,
                 "Continue an answer that was open when its head was lost, by its id")
      ->type_name("ID");
  app.add_option("--from", options->from, "With --resume: print from this token on [0]")
      ->type_name("N");
  add_generation_options(app, *options);
  app.add_option("--trace", options->trace,
                 "Write to this file where the time went, for chrome://tracing")
      ->type_name("FILE");
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "Without a prompt, it is a chat: a line that ends in \\ continues on the next one, \"\"\" "
      "goes\n"
      "around several lines, Ctrl-C stops an answer, /clear forgets the conversation, /bye or\n"
      "Ctrl-D ends the chat, /help lists these commands.\n"
      "\n"
      "Examples:\n"
      "  troupe run smollm2-135m \"Why is the sky blue?\"\n"
      "  troupe run smollm2-135m --raw \"The capital of France is\" -n 20\n"
      "  troupe run ./model.gguf - --json < prompt.txt\n"
      "  troupe run smollm2-135m --temperature 0.7 --seed 7 \"Tell a story.\"\n"
      "  troupe run smollm2-135m --cluster 127.0.0.1:7700 --layers 0-9,10-19,20-29 \"Hello\"\n"
      "\n"
      "--json prints "
      "{\"text\",\"token_ids\",\"prompt_token_ids\",\"finish_reason\",\"cached_tokens\",\n"
      "\"prompt_tok_s\",\"decode_tok_s\",\"ttft_ms\",\"nodes\":[{\"name\",\"layers\"}]}. "
      "finish_reason is stop, "
      "length,\n"
      "cancelled (by Ctrl-C) or error (then with \"error\", and exit status 1). A rate that is "
      "not\n"
      "known, such as that of a single token, is null. With --logprobs there is also "
      "\"logprobs\",\n"
      "which has for each token {\"id\",\"logprob\",\"top\":[{\"id\",\"logprob\"}]} of the model's "
      "own\n"
      "distribution.");
  return [options, prompt, ids] {
    options->has_prompt = prompt->count() > 0;
    options->has_ids = ids->count() > 0;
    return run(*options);
  };
}

}  // namespace troupe::tools
