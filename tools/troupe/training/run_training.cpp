#include <cstdio>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include <troupe/runtime/failpoint.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/training/adapter_losses.h>
#include <troupe/tools/troupe/training/job.h>
#include <troupe/tools/troupe/training/option_uses.h>
#include <troupe/tools/troupe/training/progress_line.h>
#include <troupe/tools/troupe/training/run_training.h>
#include <troupe/tools/troupe/training/show.h>

namespace troupe::tools {
namespace {

// Shows what the run would do, and its first examples.
Result<int> show_run(const FinetuneOptions& options, const Job& job) {
  TROUPE_ASSIGN_OR_RETURN(const model::MemoryPlan memory,
                          model::plan_memory(job.memory, job.data.examples));
  const model::RunPlan plan(job.data.examples.size() / examples_of_row(options, job),
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

std::string losses_text(const AdapterLosses& losses) {
  const double change = losses.run - losses.trained;
  return "`troupe run` rounds activations to int8 beside the model's quantized weights: over " +
         std::to_string(losses.examples) + " examples the loss is " + format_number(losses.run, 4) +
         " instead of " + format_number(losses.trained, 4) + " (" + (change < 0 ? "" : "+") +
         format_number(change, 4) + ")";
}

Result<int> train(const CLI::App& app, const FinetuneOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_option_uses(app, options));
  TROUPE_ASSIGN_OR_RETURN(Job job, prepare_job(options));
  if (options.shown) return show_run(options, job);
  TROUPE_RETURN_IF_ERROR(load_trainer(&job));
  model::FinetuneOptions run = run_options(options, job);
  SignalWatch watch;
  watch.take_hang_up(nullptr);
  auto line = std::make_unique<ProgressLine>(options.common.json);
  run.on_step = [&](const model::StepEvent& event) { line->show(event); };
  run.on_evaluation = [&](const model::EvaluationEvent& event) {
    if (options.common.json && event.is_repeated) return;
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
        "; the same command continues from there");
    return watch.asked_to_end() ? kExitTerminated : kExitInterrupted;
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string sha256, write_result(options, job));
  nlohmann::json summary = {
      {"steps", result.steps}, {"output", options.output}, {"weights_sha256", sha256}};
  // The adapter is written, so failures from here on are not failures of the training.
  const Result<std::optional<AdapterLosses>> losses = measure_adapter(options, job);
  if (!losses) {
    say("the adapter is written, but the effect of rounding to int8 could not be measured: " +
        losses.message());
  } else if (*losses) {
    summary["loss_as_trained"] = (*losses)->trained;
    summary["loss_as_run"] = (*losses)->run;
  }
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
    if (losses && *losses) say(losses_text(**losses));
  }
  return kExitOk;
}

}  // namespace

int run_training(const CLI::App& app, FinetuneOptions options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Status armed = arm_failpoint_from_environment();
  if (!armed) return fail(armed, options.common.json);
  fill_defaults(&options);
  const Result<int> status = train(app, options);
  return status ? *status : fail(status.status(), options.common.json);
}

}  // namespace troupe::tools
