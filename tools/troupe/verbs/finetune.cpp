#include <cmath>
#include <cstdio>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/chat_rows.h>
#include <troupe/model/training/finetune.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/runtime/sha256.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct FinetuneOptions {
  CommonOptions common;
  std::string model, data, validation, task = "lm", output;
  std::string schedule = "constant", order = "shuffled", truncate = "right", resume = "auto";
  std::string text_field = "text", label_field = "label";
  double learning_rate = 0.0, weight_decay = 0.01, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip_norm = -1.0;
  std::uint64_t epochs = 1, steps_max = 0, warmup = 0, seed = 0, save_every = 0, evaluate_every = 0;
  std::size_t batch_size = 0, micro_batch = 0, length_max = 0, keep = 2;
  int threads = 0;
  bool drops_last = false, decays_vectors = false, checkpointing = false;
};

// The defaults of each task, where the options leave them open (docs/training.md).
void fill_defaults(FinetuneOptions* options) {
  const bool classify = options->task == "classify";
  if (options->learning_rate == 0.0) options->learning_rate = classify ? 1e-4 : 2e-5;
  if (options->batch_size == 0) options->batch_size = classify ? 32 : 8;
  if (options->length_max == 0) options->length_max = classify ? 128 : 512;
  if (options->clip_norm < 0.0) options->clip_norm = 1.0;
}

struct Job {
  std::unique_ptr<model::WholeModel> source;
  model::ModelConfig config;
  std::shared_ptr<const model::Tokenizer> tokenizer;
  model::Dataset data, validation;
  std::string data_sha256;
  model::FolderTexts texts;
  std::unique_ptr<Device> device;
  std::unique_ptr<model::Trainer> trainer;  // before the device it runs on
};

Result<model::Dataset> read_chats(const Job& job, const std::string& path,
                                  const model::DatasetOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const model::ChatRows rows, model::read_chat_rows(path));
  TROUPE_ASSIGN_OR_RETURN(const std::string source,
                          model::chat_source(job.source->header(), /*with_tools=*/false));
  std::shared_ptr<const model::ChatTemplate> chat_template;
  if (!source.empty()) {
    TROUPE_ASSIGN_OR_RETURN(chat_template, model::ChatTemplate::parse(source));
  }
  return model::chat_dataset(rows, *job.tokenizer, chat_template.get(), options);
}

Result<model::Dataset> read_dataset(const FinetuneOptions& options, const Job& job,
                                    const std::string& path,
                                    const std::vector<std::string>& labels) {
  const std::map<std::string, model::Truncation> kTruncations{{"right", model::Truncation::kRight},
                                                              {"left", model::Truncation::kLeft},
                                                              {"drop", model::Truncation::kDrop}};
  const model::DatasetOptions dataset{std::min(options.length_max, job.config.context_max),
                                      kTruncations.at(options.truncate)};
  if (options.task == "chat") {
    auto chats = read_chats(job, path, dataset);
    return chats ? std::move(chats) : chats.status().with_context(path);
  }
  const model::DataFields fields{options.text_field, options.label_field,
                                 options.task == "classify"};
  TROUPE_ASSIGN_OR_RETURN(const model::DataRows rows, model::read_data_rows(path, fields));
  auto made = options.task == "classify"
                  ? model::classification_dataset(rows, *job.tokenizer, dataset, labels)
                  : model::language_dataset(rows, *job.tokenizer, dataset);
  return made ? std::move(made) : made.status().with_context(path);
}

void report_dataset(const model::Dataset& data, const std::string& path) {
  std::size_t tokens = 0;
  for (const model::Example& example : data.examples) tokens += example.ids.size();
  std::string text = path + ": " + std::to_string(data.examples.size()) + " examples, " +
                     std::to_string(tokens) + " tokens";
  if (data.truncated != 0) text += ", " + std::to_string(data.truncated) + " of them cut";
  say(text);
  constexpr std::size_t kNamed = 5;
  for (std::size_t i = 0; i < data.dropped.size() && i < kNamed; ++i)
    say("line " + std::to_string(data.dropped[i].line) + " was left out: " + data.dropped[i].why);
  if (data.dropped.size() > kNamed)
    say(std::to_string(data.dropped.size() - kNamed) + " more lines were left out");
}

Result<Job> prepare(const FinetuneOptions& options) {
  Job job;
  const std::string& home = options.common.home;
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(home));
  TROUPE_ASSIGN_OR_RETURN(const auto path, model_file(*store, home, options.model));
  TROUPE_ASSIGN_OR_RETURN(job.source, model::open_model(path.string()));
  const model::GgufHeader& header = job.source->header();
  TROUPE_ASSIGN_OR_RETURN(job.config, model::config_from_gguf(header));
  if (job.config.causal == (options.task == "classify"))
    return Status(Code::kInvalidArgument,
                  job.config.causal
                      ? "the model is a decoder (" + job.config.family +
                            "); --task classify is for encoders such as BERT"
                      : "the model is an encoder (" + job.config.family + "); use --task classify");
  if (!model::has_tokenizer(header)) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(job.tokenizer, model::open_tokenizer(header, job.config.vocabulary));
  TROUPE_ASSIGN_OR_RETURN(job.data, read_dataset(options, job, options.data, {}));
  report_dataset(job.data, options.data);
  if (!options.validation.empty()) {
    TROUPE_ASSIGN_OR_RETURN(job.validation,
                            read_dataset(options, job, options.validation, job.data.labels));
    report_dataset(job.validation, options.validation);
  }
  TROUPE_ASSIGN_OR_RETURN(job.data_sha256, sha256_of_file(options.data));
  TROUPE_ASSIGN_OR_RETURN(job.texts, model::folder_texts(header, job.config, job.data.labels));
  TROUPE_ASSIGN_OR_RETURN(job.device, Device::create({.threads = options.threads}));
  model::TrainerOptions trainer;
  trainer.network = {options.micro_batch, options.checkpointing};
  trainer.optimizer.beta1 = options.beta1;
  trainer.optimizer.beta2 = options.beta2;
  trainer.optimizer.epsilon = options.epsilon;
  trainer.optimizer.weight_decay = options.weight_decay;
  trainer.optimizer.decays_vectors = options.decays_vectors;
  trainer.optimizer.clip_norm = options.clip_norm;
  trainer.labels = job.data.labels.size();
  TROUPE_ASSIGN_OR_RETURN(job.trainer,
                          model::Trainer::create(*job.source, job.config, *job.device, trainer));
  return job;
}

// What must be the same when a run goes on. Not in it: threads, micro-batches, checkpointing.
model::RunIdentity identity_of(const FinetuneOptions& options, const Job& job) {
  const auto number = [](double value) { return nlohmann::json(value).dump(); };
  return {{"weights", job.trainer->parameters().sha256()},
          {"data", job.data_sha256},
          {"text-field", options.text_field},
          {"label-field", options.label_field},
          {"task", options.task},
          {"lr", number(options.learning_rate)},
          {"epochs", std::to_string(options.epochs)},
          {"max-steps", std::to_string(options.steps_max)},
          {"batch-size", std::to_string(options.batch_size)},
          {"max-length", std::to_string(options.length_max)},
          {"seed", std::to_string(options.seed)},
          {"order", options.order},
          {"drop-last", options.drops_last ? "yes" : "no"},
          {"truncate", options.truncate},
          {"schedule", options.schedule},
          {"warmup", std::to_string(options.warmup)},
          {"weight-decay", number(options.weight_decay)},
          {"decay-all", options.decays_vectors ? "yes" : "no"},
          {"beta1", number(options.beta1)},
          {"beta2", number(options.beta2)},
          {"epsilon", number(options.epsilon)},
          {"clip-norm", number(options.clip_norm)}};
}

// One line about a step: on a terminal it takes the place of the one before.
class ProgressLine {
 public:
  explicit ProgressLine(bool json) : json_(json), live_(::isatty(2) == 1) {}
  ~ProgressLine() {
    if (shown_) std::fputc('\n', stderr);
  }
  void show(const model::StepEvent& event) {
    seconds_ += event.seconds;
    ++steps_;
    const double left = seconds_ / steps_ * static_cast<double>(event.steps - event.step);
    if (json_) {
      const nlohmann::json norm = std::isfinite(event.report.gradient_norm)
                                      ? nlohmann::json(event.report.gradient_norm)
                                      : nlohmann::json(nullptr);
      const nlohmann::json loss = std::isfinite(event.report.loss)
                                      ? nlohmann::json(event.report.loss)
                                      : nlohmann::json(nullptr);
      print_json({{"step", event.step},
                  {"steps", event.steps},
                  {"epoch", event.epoch},
                  {"loss", loss},
                  {"gradient_norm", norm},
                  {"lr", event.learning_rate},
                  {"targets", event.report.targets},
                  {"tokens", event.tokens},
                  {"tokens_per_s", static_cast<double>(event.tokens) / event.seconds},
                  {"applied", event.report.applied}});
      return;
    }
    std::fprintf(stderr,
                 "%sstep %llu of %llu  loss %.4f  norm %.3f  lr %.2e  %.0f tokens/s  %.0f s left%s",
                 live_ ? "\r\033[K" : "", static_cast<unsigned long long>(event.step),
                 static_cast<unsigned long long>(event.steps), event.report.loss,
                 event.report.gradient_norm, event.learning_rate,
                 static_cast<double>(event.tokens) / event.seconds, left, live_ ? "" : "\n");
    shown_ = live_;
  }

 private:
  const bool json_, live_;
  bool shown_ = false;
  double seconds_ = 0.0, steps_ = 0.0;
};

model::FinetuneOptions run_options(const FinetuneOptions& options, const Job& job) {
  const std::map<std::string, model::ScheduleKind> kSchedules{
      {"constant", model::ScheduleKind::kConstant},
      {"linear", model::ScheduleKind::kLinear},
      {"cosine", model::ScheduleKind::kCosine}};
  model::FinetuneOptions run;
  run.run.batch_size = options.batch_size;
  run.run.epochs = options.epochs;
  run.run.steps_max = options.steps_max;
  run.run.seed = options.seed;
  run.run.shuffled = options.order == "shuffled";
  run.run.drops_last = options.drops_last;
  run.run.schedule = {kSchedules.at(options.schedule), options.learning_rate, options.warmup, 0};
  run.folder = options.output;
  run.save_every = options.save_every;
  run.keep = options.keep;
  run.evaluate_every = options.evaluate_every;
  run.resumes = options.resume != "never";
  run.identity = identity_of(options, job);
  return run;
}

Result<int> train(const FinetuneOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Job job, prepare(options));
  model::FinetuneOptions run = run_options(options, job);
  SignalWatch watch;
  watch.take_hang_up(nullptr);
  auto line = std::make_unique<ProgressLine>(options.common.json);
  run.on_step = [&](const model::StepEvent& event) { line->show(event); };
  run.on_evaluation = [&](const model::EvaluationEvent& event) {
    if (options.common.json)
      return print_json({{"step", event.step},
                         {"validation_loss", event.loss},
                         {"validation_accuracy", event.accuracy}});
    say("after step " + std::to_string(event.step) + ": validation loss " +
        format_number(event.loss, 4) + ", accuracy " + format_number(100 * event.accuracy, 1) +
        " %");
  };
  run.on_note = [](const std::string& text) { say(text); };
  run.should_stop = [&] { return watch.count() > 0; };
  TROUPE_ASSIGN_OR_RETURN(
      const model::FinetuneResult result,
      model::finetune(*job.trainer, job.data.examples, job.validation.examples, run));
  line.reset();
  if (result.stopped) {
    say("stopped after step " + std::to_string(result.steps) +
        "; the same command goes on from "
        "there");
    return watch.asked_to_end() ? kExitTerminated : kExitInterrupted;
  }
  TROUPE_ASSIGN_OR_RETURN(
      const std::string sha256,
      model::write_model_folder(options.output, job.texts, job.trainer->config(),
                                job.trainer->parameters()));
  nlohmann::json summary = {
      {"steps", result.steps}, {"output", options.output}, {"weights_sha256", sha256}};
  if (!job.validation.examples.empty()) {
    summary["validation_loss"] = result.evaluation.loss;
    summary["validation_accuracy"] = result.evaluation.accuracy;
  }
  if (options.common.json) {
    print_json(summary);
  } else {
    std::printf("%s\n", options.output.c_str());
    say("trained " + std::to_string(result.steps) + " steps; weights " + sha256);
  }
  return kExitOk;
}

int run_finetune(FinetuneOptions options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Status armed = arm_failpoint_from_environment();
  if (!armed) return fail(armed, options.common.json);
  fill_defaults(&options);
  const Result<int> status = train(options);
  return status ? *status : fail(status.status(), options.common.json);
}

void add_data_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("--data", options.data, "What to train on: .jsonl, .csv, or plain text")
      ->required()
      ->type_name("FILE");
  app.add_option("--validation", options.validation, "What to measure the loss on besides")
      ->type_name("FILE");
  app.add_option(
         "--task", options.task,
         "lm: predict the next token of texts; chat: the assistant's messages; classify: texts "
         "with labels")
      ->check(CLI::IsMember({"lm", "chat", "classify"}))
      ->capture_default_str();
  app.add_option("--text-field", options.text_field, "Field of a row's text")
      ->capture_default_str();
  app.add_option("--label-field", options.label_field, "Field of a row's label")
      ->capture_default_str();
  app.add_option("--max-length", options.length_max,
                 "Tokens of an example [lm, chat: 512, classify: 128]")
      ->check(whole_number(2, 1 << 20));
  app.add_option("--truncate", options.truncate,
                 "Which end of a longer text is cut off, or drop the row")
      ->check(CLI::IsMember({"left", "right", "drop"}))
      ->capture_default_str();
  app.add_option("--order", options.order, "Order of the examples in an epoch")
      ->check(CLI::IsMember({"file", "shuffled"}))
      ->capture_default_str();
  app.add_flag("--drop-last", options.drops_last,
               "Leave out an epoch's last batch if it is smaller than the others");
}

void add_step_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("--epochs", options.epochs, "How often each example is seen")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-steps", options.steps_max, "Steps, whatever the epochs say")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--batch-size", options.batch_size,
                 "Examples of a step, in all [lm, chat: 8, classify: 32]")
      ->check(whole_number(1, 1 << 20));
  app.add_option("--micro-batch", options.micro_batch,
                 "Examples in memory at once; changes no bit of the result [all]")
      ->check(whole_number(1, 1 << 20));
  app.add_option("--lr", options.learning_rate, "Learning rate [lm, chat: 2e-5, classify: 1e-4]")
      ->check(CLI::PositiveNumber);
  app.add_option("--schedule", options.schedule, "How the learning rate falls")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}))
      ->capture_default_str();
  app.add_option("--warmup", options.warmup, "Steps in which the learning rate rises from 0")
      ->check(whole_number(0, UINT64_MAX / 2))
      ->capture_default_str();
  app.add_option("--weight-decay", options.weight_decay, "AdamW's weight decay, of matrices")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--decay-all", options.decays_vectors, "Norms and biases decay, too");
  app.add_option("--beta1", options.beta1, "AdamW's beta1")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  app.add_option("--beta2", options.beta2, "AdamW's beta2")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  app.add_option("--epsilon", options.epsilon, "AdamW's epsilon")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--clip-norm", options.clip_norm, "Largest norm of the gradients; 0: any [1]")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", options.seed, "Seed of the order")->capture_default_str();
}

void add_run_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("-o,--output-dir", options.output, "The folder of the trained model")
      ->required()
      ->type_name("DIR");
  app.add_option("--save-every", options.save_every, "Steps between checkpoints [none]")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--keep", options.keep, "Checkpoints that stay")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  app.add_option("--eval-every", options.evaluate_every, "Steps between evaluations [at the end]")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--resume", options.resume,
                 "Go on from the folder's newest checkpoint of the same run, or never")
      ->check(CLI::IsMember({"auto", "never"}))
      ->capture_default_str();
  app.add_flag("--checkpointing", options.checkpointing,
               "Keep less of the forward pass: less memory, a third more time, the same bits");
  app.add_option("-t,--threads", options.threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
}

}  // namespace

Action add_finetune(CLI::App& app) {
  auto options = std::make_shared<FinetuneOptions>();
  add_model_argument(app, options->model);
  add_data_options(app, *options);
  add_step_options(app, *options);
  add_run_options(app, *options);
  add_common_options(app, options->common);
  app.get_option("--json")->description(
      "Print a JSON object on stdout for each step, and one at the end");
  app.footer(
      "Trains every weight in f32 and writes a Hugging Face folder that `troupe run` and\n"
      "`troupe classify` take as it is. The weights do not depend on threads, --micro-batch or\n"
      "the CPU. Ctrl-C saves a checkpoint; the same command goes on from it.\n"
      "\n"
      "Examples:\n"
      "  troupe finetune smollm2-135m --data notes.txt --task lm -o tuned\n"
      "  troupe finetune ./minilm --data train.jsonl --task classify --epochs 3 -o classifier\n"
      "  troupe run ./tuned \"Hello\"");
  return [options] { return run_finetune(*options); };
}

}  // namespace troupe::tools
