#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/training/trainer.h>

// Checkpoints of a run: FOLDER/checkpoint-STEP with state.safetensors (weights and the optimizer's
// state) and, written last, manifest.json with the SHA-256 of the state. A folder without a
// matching manifest does not count as a checkpoint. A checkpoint has nothing to do with threads,
// micro-batches or workers.

namespace troupe::model {

// What identifies a run: fields that must be the same when it is continued, in order. A run with
// other fields is another run.
using RunIdentity = std::vector<std::pair<std::string, std::string>>;

struct CheckpointState {
  std::uint64_t step = 0;  // steps that were taken, skipped ones included
  std::uint64_t skipped_in_row = 0;
  // For early stopping: the step with the least validation loss, and that loss; 0: there was none
  // yet.
  std::uint64_t best_step = 0;
  double best_loss = 0.0;
  std::uint64_t evaluations_since_best = 0;
  std::uint64_t event_bytes = 0;  // of TensorBoard's file that the run had written
  RunIdentity identity;
};

// Writes a checkpoint, and removes the oldest ones beyond `keep`, except that of state.best_step.
//   Errors: what the system says, such as a full disk; then the checkpoints before are untouched.
Status save_checkpoint(const std::filesystem::path& folder, const CheckpointState& state,
                       Trainer& trainer, std::size_t keep);

// Loads the newest checkpoint whose files match its manifest, or returns nothing if there is none.
// Damaged ones are skipped, and named in `damaged`.
//   Errors: kFailedPrecondition if it is of another run: names the fields that differ.
Result<std::optional<CheckpointState>> load_checkpoint(const std::filesystem::path& folder,
                                                       const RunIdentity& identity,
                                                       Trainer& trainer,
                                                       std::vector<std::string>* damaged);

// Loads the checkpoint of a step.
//   Errors: kBadData if it is damaged or not there.
Status load_checkpoint_of_step(const std::filesystem::path& folder, std::uint64_t step,
                               Trainer& trainer);

// Returns the newest checkpoint with a manifest, or "".
std::string newest_checkpoint(const std::filesystem::path& folder);

}  // namespace troupe::model
