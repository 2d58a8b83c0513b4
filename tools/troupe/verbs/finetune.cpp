#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/runtime/failpoint.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/training/job.h>
#include <troupe/tools/troupe/training/progress_line.h>
#include <troupe/tools/troupe/training/show.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

Status check_validation(const FinetuneOptions& options) {
  const bool has_data = !options.validation.empty() || options.validation_split > 0.0;
  if (!options.validation.empty() && options.validation_split > 0.0)
    return Status(Code::kInvalidArgument,
                  "give --validation or --validation-split, one of the two");
  if (options.patience != 0 && (options.evaluate_every == 0 || !has_data))
    return Status(Code::kInvalidArgument,
                  "--patience counts evaluations: it needs --eval-every, and --validation or "
                  "--validation-split");
  return Status::ok();
}

// Shows what the run would do, and its first examples.
Result<int> show(const FinetuneOptions& options, const Job& job) {
  TROUPE_ASSIGN_OR_RETURN(const model::MemoryPlan memory,
                          model::plan_memory(job.memory, job.data.examples));
  const model::RunPlan plan(job.data.examples.size() / (options.task == "dpo" ? 2 : 1),
                            run_options(options, job).run);
  if (options.common.json) {
    print_json({{"steps", plan.steps()},
                {"steps_per_epoch", plan.steps_per_epoch()},
                {"memory_bytes", memory.total()}});
  } else {
    say(std::to_string(plan.steps()) + " steps, " + std::to_string(plan.steps_per_epoch()) +
        " an epoch; memory " + model::memory_text(memory));
  }
  TROUPE_RETURN_IF_ERROR(show_examples(job, *options.shown, options.common.json));
  return kExitOk;
}

Result<int> train(const FinetuneOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_validation(options));
  TROUPE_ASSIGN_OR_RETURN(Job job, prepare_job(options));
  if (options.shown) return show(options, job);
  TROUPE_RETURN_IF_ERROR(load_trainer(&job));
  model::FinetuneOptions run = run_options(options, job);
  SignalWatch watch;
  watch.take_hang_up(nullptr);
  auto line = std::make_unique<ProgressLine>(options.common.json);
  run.on_step = [&](const model::StepEvent& event) { line->show(event); };
  run.on_evaluation = [&](const model::EvaluationEvent& event) {
    if (options.common.json) {
      nlohmann::json line_of = {{"step", event.step}, {"validation_loss", event.loss}};
      if (options.task != "regress") line_of["validation_accuracy"] = event.accuracy;
      return print_json(line_of);
    }
    say("after step " + std::to_string(event.step) + ": validation loss " +
        format_number(event.loss, 4) +
        (options.task == "regress"
             ? ""
             : ", accuracy " + format_number(100 * event.accuracy, 1) + " %"));
  };
  run.on_note = [](const std::string& text) { say(text); };
  run.should_stop = [&] { return watch.count() > 0; };
  TROUPE_ASSIGN_OR_RETURN(
      const model::FinetuneResult result,
      model::finetune(*job.trainer, job.data.examples, job.validation.examples, run));
  line.reset();
  if (result.stopped) {
    say("stopped after step " + std::to_string(result.steps) +
        "; the same command goes on from there");
    return watch.asked_to_end() ? kExitTerminated : kExitInterrupted;
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string sha256, write_result(options, job));
  nlohmann::json summary = {
      {"steps", result.steps}, {"output", options.output}, {"weights_sha256", sha256}};
  if (options.patience != 0) {
    summary["best_step"] = result.evaluation.step;
    summary["stopped_early"] = result.stopped_early;
  }
  if (!job.validation.examples.empty()) {
    summary["validation_loss"] = result.evaluation.loss;
    if (options.task != "regress") summary["validation_accuracy"] = result.evaluation.accuracy;
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
  app.add_option("--data", options.data, "The data to train on: .jsonl, .csv, or plain text")
      ->required()
      ->type_name("FILE");
  app.add_option("--validation", options.validation, "Other data on which to measure the loss")
      ->type_name("FILE");
  app.add_option("--validation-split", options.validation_split,
                 "The part of the rows, drawn by --seed, that is kept for validation")
      ->check(CLI::Range(0.0001, 0.9999))
      ->type_name("PART");
  app.add_option(
         "--task", options.task,
         "lm: predict the next token of texts; chat: the assistant's messages; classify: texts "
         "with labels; regress: texts with numbers; dpo: of two answers, prefer the chosen one")
      ->check(CLI::IsMember({"lm", "chat", "classify", "regress", "dpo"}))
      ->capture_default_str();
  app.add_option("--text-field", options.text_field, "Field of a row's text")
      ->capture_default_str();
  app.add_option("--label-field", options.label_field, "Field of a row's label")
      ->capture_default_str();
  app.add_option("--max-length", options.length_max,
                 "Tokens of an example [lm, chat, dpo: 512, classify, regress: 128]")
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
  app.add_option("--epochs", options.epochs, "How often each example is used")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-steps", options.steps_max, "Number of steps, which overrides the epochs")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--batch-size", options.batch_size,
                 "Examples in a step, in all; dpo: pairs [lm, chat, dpo: 8, others: 32]")
      ->check(whole_number(1, 1 << 20));
  app.add_option("--micro-batch", options.micro_batch,
                 "Examples in memory at once; changes no bit of the result [all]")
      ->check(whole_number(1, 1 << 20));
  app.add_option("--lr", options.learning_rate, "Learning rate [lm, chat, dpo: 2e-5, others: 1e-4]")
      ->check(CLI::PositiveNumber);
  app.add_option("--schedule", options.schedule, "How the learning rate falls")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}))
      ->capture_default_str();
  app.add_option("--warmup", options.warmup, "Steps in which the learning rate rises from 0")
      ->check(whole_number(0, UINT64_MAX / 2))
      ->capture_default_str();
  app.add_option("--weight-decay", options.weight_decay, "AdamW's weight decay, for matrices")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--decay-all", options.decays_vectors, "Decay norms and biases, too");
  app.add_option("--beta1", options.beta1, "AdamW's beta1")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  app.add_option("--beta2", options.beta2, "AdamW's beta2")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  app.add_option("--epsilon", options.epsilon, "AdamW's epsilon")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--beta", options.beta, "dpo: how close the model stays to the original")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--label-smoothing", options.label_smoothing,
                 "lm, chat, classify: the part of each target that is spread over all classes")
      ->check(CLI::Range(0.0, 0.999));
  app.add_option("--class-weights", options.class_weights,
                 "classify: balanced, or what a label's losses are multiplied by: NAME=2,OTHER=0.5")
      ->type_name("WEIGHTS");
  app.add_option("--clip-norm", options.clip_norm,
                 "Largest norm of the gradients; 0 means no limit [1]")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", options.seed, "Seed of the random order")->capture_default_str();
}

void add_lora_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("--lora-rank", options.lora_rank,
                 "Train low-rank adapters of this rank instead of the weights")
      ->check(whole_number(1, 1 << 16));
  app.add_option("--lora-alpha", options.lora_alpha,
                 "What an adapter is multiplied by, times the rank [twice the rank]")
      ->check(CLI::PositiveNumber);
  app.add_option("--lora-targets", options.lora_targets,
                 "Matrices that get an adapter: q, k, v, o, gate, up, down, or their names in the "
                 "model's folder, with commas between them")
      ->capture_default_str();
  app.add_flag("--rslora", options.rank_stabilized,
               "Divide alpha by the square root of the rank, not by the rank");
}

void add_run_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("-o,--output-dir", options.output, "The folder of the trained model")
      ->required()
      ->type_name("DIR");
  app.add_option("--save-every", options.save_every, "Steps between checkpoints [none]")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--keep", options.keep, "Number of checkpoints to keep")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  app.add_option("--eval-every", options.evaluate_every, "Steps between evaluations [at the end]")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option(
         "--patience", options.patience,
         "Stop after this number of evaluations without a smaller loss, with the best weights")
      ->check(whole_number(1, 1'000'000));
  app.add_option("--show", options.shown,
                 "Do not train: print the number of steps, the memory and the first N examples")
      ->check(whole_number(0, 1 << 20))
      ->type_name("N");
  app.add_option("--resume", options.resume,
                 "Continue from the folder's newest checkpoint of the same run, or never")
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
  add_lora_options(app, *options);
  add_run_options(app, *options);
  add_common_options(app, options->common);
  app.get_option("--json")->description(
      "Print a JSON object on stdout for each step, and one at the end");
  app.footer(
      "Trains every weight in f32 and writes a Hugging Face folder that `troupe run` and\n"
      "`troupe classify` take as it is. The weights do not depend on threads, --micro-batch or\n"
      "the CPU. Ctrl-C saves a checkpoint, and the same command continues from it. With\n"
      "--lora-rank the folder holds an adapter in PEFT's form, which `troupe export` merges into\n"
      "a model.\n"
      "\n"
      "Examples:\n"
      "  troupe finetune smollm2-135m --data notes.txt --task lm -o tuned\n"
      "  troupe finetune ./minilm --data train.jsonl --task classify --epochs 3 -o classifier\n"
      "  troupe finetune smollm2-135m --data chats.jsonl --task chat --lora-rank 8 -o adapter\n"
      "  troupe run ./tuned \"Hello\"");
  return [options] { return run_finetune(*options); };
}

}  // namespace troupe::tools
