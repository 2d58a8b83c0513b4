#include <algorithm>
#include <chrono>
#include <utility>

#include <troupe/model/training/finetune.h>

namespace troupe::model {
namespace {

constexpr std::uint64_t kSkippedMax = 3;  // steps in a row

class Run {
 public:
  Run(Trainer& trainer, const std::vector<Example>& examples,
      const std::vector<Example>& validation, const FinetuneOptions& options)
      : trainer_(trainer),
        examples_(examples),
        validation_(validation),
        options_(options),
        plan_(examples.size(), options.run) {
    state_.identity = options.identity;
  }

  Result<FinetuneResult> run() {
    if (plan_.steps() == 0)
      return Status(Code::kInvalidArgument,
                    std::to_string(examples_.size()) + " examples make no batch of " +
                        std::to_string(options_.run.batch_size) +
                        "; give more of them, a smaller batch, or leave out --drop-last");
    if (options_.resumes) TROUPE_RETURN_IF_ERROR(resume());
    while (state_.step < plan_.steps()) {
      TROUPE_RETURN_IF_ERROR(step());
      const bool last = state_.step == plan_.steps();
      const auto due = [&](std::uint64_t every) { return every != 0 && state_.step % every == 0; };
      if (due(options_.evaluate_every) && !last) TROUPE_RETURN_IF_ERROR(evaluate_now());
      if (due(options_.save_every)) TROUPE_RETURN_IF_ERROR(save());
      if (last || !options_.should_stop || !options_.should_stop()) continue;
      if (!due(options_.save_every)) TROUPE_RETURN_IF_ERROR(save());
      result_.stopped = true;
      break;
    }
    if (!result_.stopped) TROUPE_RETURN_IF_ERROR(evaluate_now());
    result_.steps = state_.step;
    return result_;
  }

 private:
  Status resume() {
    std::vector<std::string> damaged;
    TROUPE_ASSIGN_OR_RETURN(
        const auto found, load_checkpoint(options_.folder, options_.identity, trainer_, &damaged));
    for (const std::string& one : damaged) note("passed over a damaged checkpoint: " + one);
    if (!found) return Status::ok();
    state_ = *found;
    note("going on from step " + std::to_string(state_.step) + " of " +
         std::to_string(plan_.steps()));
    return Status::ok();
  }

  Status step() {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<Example> batch;
    StepEvent event;
    for (const std::size_t index : plan_.batch(state_.step)) {
      batch.push_back(examples_[index]);
      event.tokens += examples_[index].ids.size();
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

  Status save() { return save_checkpoint(options_.folder, state_, trainer_, options_.keep); }

  Status evaluate_now() {
    if (validation_.empty()) return Status::ok();
    TROUPE_ASSIGN_OR_RETURN(result_.evaluation,
                            evaluate(trainer_, validation_, options_.run.batch_size));
    result_.evaluation.step = state_.step;
    if (options_.on_evaluation) options_.on_evaluation(result_.evaluation);
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
  double loss = 0.0;
  std::size_t targets = 0, hits = 0;
  for (std::size_t begin = 0; begin < examples.size(); begin += batch_size) {
    const std::size_t count = std::min(batch_size, examples.size() - begin);
    TROUPE_RETURN_IF_ERROR(trainer.network().check(std::span(examples).subspan(begin, count)));
    const BatchSums sums = trainer.network().loss(std::span(examples).subspan(begin, count));
    loss += sums.loss;
    targets += sums.targets;
    hits += sums.hits;
  }
  EvaluationEvent event;
  event.loss = loss / static_cast<double>(targets);
  event.accuracy = static_cast<double>(hits) / static_cast<double>(targets);
  return event;
}

}  // namespace troupe::model
