#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <troupe/model/training/checkpoint.h>
#include <troupe/model/training/dataset.h>
#include <troupe/model/training/run_plan.h>
#include <troupe/model/training/trainer.h>

// A run of training: steps over a dataset, checkpoints, evaluation, and what to do when a step
// fails. The caller saves the model (model_folder.h).

namespace troupe::model {

struct StepEvent {
  std::uint64_t step = 0, steps = 0;  // of the run; the first step is 1
  std::uint64_t epoch = 0;            // from 0
  double learning_rate = 0.0;
  StepReport report;
  std::size_t tokens = 0;  // of the batch
  double seconds = 0.0;    // that the step took
  // True if the run that this one continues took the step, too, before it was killed: its event
  // file has it.
  bool is_repeated = false;
};
struct EvaluationEvent {
  std::uint64_t step = 0;
  double loss = 0.0;         // mean over the supervised positions
  double accuracy = 0.0;     // the part of them whose target has the largest logit
  bool is_repeated = false;  // as StepEvent
};

struct FinetuneOptions {
  RunOptions run;
  std::filesystem::path folder;  // of the checkpoints
  // TensorBoard's file of losses, norms and rates (event_file.h); empty: none is written.
  std::filesystem::path events;
  std::uint64_t save_every = 0;  // steps between checkpoints; 0: only when the run is interrupted
  std::size_t keep = 2;          // checkpoints that stay
  std::uint64_t evaluate_every = 0;  // steps between evaluations; 0: only at the end
  // If this is not 0, the run ends early after this number of evaluations in a row without a
  // smaller validation loss than the best one. Its final weights are then always those of the best
  // evaluation.
  std::uint64_t patience = 0;
  bool resumes = true;   // goes on from the newest checkpoint, if there is one
  RunIdentity identity;  // of the run: what must be the same when it is continued
  std::function<void(const StepEvent&)> on_step;
  std::function<void(const EvaluationEvent&)> on_evaluation;
  std::function<void(const std::string&)> on_note;  // what a person should know
  std::function<bool()> should_stop;                // asked after every step
};

struct FinetuneResult {
  std::uint64_t steps = 0;
  bool stopped = false;  // should_stop said so; a checkpoint was saved
  StepReport last;
  EvaluationEvent evaluation;  // of the weights at the end, if there was validation data
  bool stopped_early = false;  // by `patience`
};

// Runs all steps. `validation` may be empty.
//   Errors: kFailedPrecondition if the folder has a checkpoint of another run; kBadData if the loss
//   or the gradients are not finite in three steps in a row: names the last good checkpoint; what
//   save_checkpoint and EventFile return.
Result<FinetuneResult> finetune(Trainer& trainer, const std::vector<Example>& examples,
                                const std::vector<Example>& validation,
                                const FinetuneOptions& options);

// Returns the loss and accuracy of examples, which are computed in batches of `batch_size`; their
// sums are divided once.
Result<EvaluationEvent> evaluate(Trainer& trainer, const std::vector<Example>& examples,
                                 std::size_t batch_size);

}  // namespace troupe::model
