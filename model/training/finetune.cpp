#include <algorithm>
#include <chrono>
#include <cmath>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/training/event_file.h>
#include <troupe/model/training/finetune.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/json_file.h>

namespace troupe::model {
namespace {

constexpr std::uint64_t kSkippedMax = 3;  // steps in a row
constexpr const char* kToldName = "steps_told.json";

class Run {
 public:
  Run(Trainer& trainer, const std::vector<Example>& examples,
      const std::vector<Example>& validation, const FinetuneOptions& options)
      : trainer_(trainer),
        examples_(examples),
        validation_(validation),
        options_(options),
        plan_(examples.size() / trainer.group(), options.run) {
    state_.identity = options.identity;
  }

  Result<FinetuneResult> run() {
    if (plan_.steps() == 0)
      return Status(Code::kInvalidArgument,
                    std::to_string(examples_.size()) + " examples make no batch of " +
                        std::to_string(options_.run.batch_size) +
                        "; give more of them, a smaller batch, or leave out --drop-last");
    if (options_.resumes) TROUPE_RETURN_IF_ERROR(resume());
    if (!options_.events.empty()) TROUPE_RETURN_IF_ERROR(open_events());
    while (state_.step < plan_.steps() && !is_exhausted()) {
      TROUPE_RETURN_IF_ERROR(step());
      const bool last = state_.step == plan_.steps();
      const auto due = [&](std::uint64_t every) { return every != 0 && state_.step % every == 0; };
      bool has_improved = false;
      if (due(options_.evaluate_every) || last) {
        TROUPE_ASSIGN_OR_RETURN(has_improved, evaluate_now());
      }
      const bool stops = !last && options_.should_stop && options_.should_stop();
      if (has_improved || stops || due(options_.save_every)) TROUPE_RETURN_IF_ERROR(save());
      if (!stops) continue;
      result_.stopped = true;
      result_.steps = state_.step;
      return result_;
    }
    result_.steps = state_.step;
    result_.stopped_early = state_.step < plan_.steps();
    if (!options_.events.empty()) {
      std::error_code error;
      std::filesystem::remove(options_.events.parent_path() / kToldName, error);
    }
    TROUPE_RETURN_IF_ERROR(take_best());
    if (result_.evaluation.step == 0) TROUPE_RETURN_IF_ERROR(evaluate_now().status());
    return result_;
  }

 private:
  Status resume() {
    std::vector<std::string> damaged;
    TROUPE_ASSIGN_OR_RETURN(
        const auto found, load_checkpoint(options_.folder, options_.identity, trainer_, &damaged));
    for (const std::string& one : damaged) note("skipped a damaged checkpoint: " + one);
    if (!found) return Status::ok();
    state_ = *found;
    note("going on from step " + std::to_string(state_.step) + " of " +
         std::to_string(plan_.steps()));
    return Status::ok();
  }

  // Finds the steps that earlier runs have reported. The event file has them, but is about to be
  // cut off, so a small file keeps them until the run is over.
  Status find_told() {
    const std::filesystem::path path = options_.events.parent_path() / kToldName;
    std::error_code error;
    if (state_.step == 0) {
      std::filesystem::remove(path, error);
      return Status::ok();
    }
    TROUPE_ASSIGN_OR_RETURN(told_, EventFile::last_steps(options_.events));
    if (std::filesystem::is_regular_file(path, error)) {
      TROUPE_ASSIGN_OR_RETURN(const nlohmann::json before, read_json_file(path, 4096));
      LastSteps told;
      if (!read_field(before, "training", &told.training) ||
          !read_field(before, "validation", &told.validation))
        return bad_field(path, "training");
      told_.training = std::max(told_.training, told.training);
      told_.validation = std::max(told_.validation, told.validation);
    }
    const nlohmann::json now = {{"training", told_.training}, {"validation", told_.validation}};
    return write_file_atomically(path, now.dump() + "\n");
  }

  Status open_events() {
    TROUPE_RETURN_IF_ERROR(find_told());
    TROUPE_ASSIGN_OR_RETURN(events_, EventFile::open(options_.events, state_.event_bytes));
    if (events_.bytes() < state_.event_bytes)
      note(options_.events.string() + " has lost the records of steps before " +
           std::to_string(state_.step + 1) + "; the others follow");
    resumed_step_ = state_.step;
    return Status::ok();
  }

  Status write_events(std::uint64_t step, std::span<const EventValue> values) {
    if (!events_.is_open()) return Status::ok();
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return events_.write(step, values, std::chrono::duration<double>(now).count());
  }

  Status write_step_events(const StepEvent& event) {
    const EventValue values[] = {
        {"train/loss", event.report.loss},
        {"train/gradient_norm", event.report.gradient_norm},
        {"train/learning_rate", event.learning_rate},
        {"train/tokens_per_second", static_cast<double>(event.tokens) / event.seconds}};
    return write_events(event.step, values);
  }

  Status step() {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<Example> batch;
    StepEvent event;
    const std::size_t group = trainer_.group();
    for (const std::size_t index : plan_.batch(state_.step))
      for (std::size_t i = index * group; i < (index + 1) * group; ++i) {
        batch.push_back(examples_[i]);
        batch.back().number = i;
        batch.back().epoch = plan_.epoch_of(state_.step);
        event.tokens += examples_[i].ids.size();
      }
    event.epoch = plan_.epoch_of(state_.step);
    event.learning_rate = plan_.learning_rate(state_.step);
    TROUPE_ASSIGN_OR_RETURN(event.report, trainer_.step(batch, event.learning_rate));
    ++state_.step;
    event.step = state_.step;
    event.steps = plan_.steps();
    event.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    result_.last = event.report;
    state_.skipped_in_row = event.report.applied ? 0 : state_.skipped_in_row + 1;
    event.is_repeated = event.step <= told_.training;
    // The record comes first: a step that was not reported is reported when the run is continued.
    TROUPE_RETURN_IF_ERROR(write_step_events(event));
    if (options_.on_step) options_.on_step(event);
    return event.report.applied ? Status::ok() : skipped();
  }

  Status skipped() {
    const std::string what =
        "the loss or the gradients of step " + std::to_string(state_.step) + " are not finite";
    if (state_.skipped_in_row < kSkippedMax) {
      note(what + "; the step was skipped, and the weights stay as they were");
      return Status::ok();
    }
    const std::string good = newest_checkpoint(options_.folder);
    return Status(Code::kBadData, what + ", the third time in a row; the last good checkpoint is " +
                                      (good.empty() ? "none (see --save-every)" : good) +
                                      ". Try a smaller --lr, or clip gradients with --clip-norm");
  }

  Status save() {
    if (events_.is_open()) {
      TROUPE_RETURN_IF_ERROR(events_.sync());
      state_.event_bytes = events_.bytes();
    }
    return save_checkpoint(options_.folder, state_, trainer_, options_.keep);
  }

  bool is_exhausted() const {
    return options_.patience != 0 && state_.evaluations_since_best >= options_.patience;
  }

  // Returns true if early stopping is on and the validation loss is the least so far.
  Result<bool> evaluate_now() {
    if (validation_.empty()) return false;
    TROUPE_ASSIGN_OR_RETURN(result_.evaluation,
                            evaluate(trainer_, validation_, options_.run.batch_size));
    result_.evaluation.step = state_.step;
    result_.evaluation.is_repeated = state_.step <= told_.validation;
    // The checkpoint from which a run continues was written after this step's evaluation.
    if (state_.step != resumed_step_) {
      std::vector<EventValue> values = {{"validation/loss", result_.evaluation.loss}};
      if (trainer_.loss_options().kind != LossKind::kSquares)
        values.push_back({"validation/accuracy", result_.evaluation.accuracy});
      TROUPE_RETURN_IF_ERROR(write_events(state_.step, values));
    }
    if (options_.on_evaluation) options_.on_evaluation(result_.evaluation);
    if (options_.patience == 0) return false;
    const double loss = result_.evaluation.loss;
    if (!std::isfinite(loss) || (state_.best_step != 0 && !(loss < state_.best_loss))) {
      ++state_.evaluations_since_best;
      return false;
    }
    state_.best_step = state_.step;
    state_.best_loss = loss;
    state_.evaluations_since_best = 0;
    return true;
  }

  // Replaces the last weights by those of the best evaluation.
  Status take_best() {
    if (options_.patience == 0 || state_.best_step == 0) return Status::ok();
    if (state_.best_step != state_.step || result_.evaluation.step != state_.step) {
      TROUPE_RETURN_IF_ERROR(load_checkpoint_of_step(options_.folder, state_.best_step, trainer_));
      TROUPE_ASSIGN_OR_RETURN(result_.evaluation,
                              evaluate(trainer_, validation_, options_.run.batch_size));
    }
    result_.evaluation.step = state_.best_step;
    note("the weights are those after step " + std::to_string(state_.best_step) +
         ", with the least validation loss");
    return Status::ok();
  }

  void note(const std::string& text) const {
    if (options_.on_note) options_.on_note(text);
  }

  Trainer& trainer_;
  const std::vector<Example>& examples_;
  const std::vector<Example>& validation_;
  const FinetuneOptions& options_;
  RunPlan plan_;
  CheckpointState state_;
  EventFile events_;
  std::uint64_t resumed_step_ = 0;
  LastSteps told_;  // the steps that the continued run has reported
  FinetuneResult result_;
};

}  // namespace

Result<FinetuneResult> finetune(Trainer& trainer, const std::vector<Example>& examples,
                                const std::vector<Example>& validation,
                                const FinetuneOptions& options) {
  return Run(trainer, examples, validation, options).run();
}

Result<EvaluationEvent> evaluate(Trainer& trainer, const std::vector<Example>& examples,
                                 std::size_t batch_size) {
  double loss = 0.0, divisor = 0.0;
  std::size_t targets = 0, hits = 0;
  const std::size_t step = batch_size * trainer.group();
  for (std::size_t begin = 0; begin < examples.size(); begin += step) {
    const std::size_t count = std::min(step, examples.size() - begin);
    TROUPE_ASSIGN_OR_RETURN(const StepReport report,
                            trainer.evaluate(std::span(examples).subspan(begin, count)));
    loss += report.loss_sum;
    divisor += report.divisor;
    targets += report.targets;
    hits += report.hits;
  }
  EvaluationEvent event;
  event.loss = loss / divisor;
  event.accuracy = static_cast<double>(hits) / static_cast<double>(targets);
  return event;
}

}  // namespace troupe::model
