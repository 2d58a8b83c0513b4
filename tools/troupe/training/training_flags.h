#pragma once

#include <troupe/tools/troupe/training/finetune_options.h>

// The flags of `troupe finetune` and `troupe train`.

namespace troupe::tools {

// Adds the data, the task, and the treatment of long texts.
void add_data_options(CLI::App& app, FinetuneOptions& options);
// Adds batches, the learning rate, the loss and the optimizer.
void add_step_options(CLI::App& app, FinetuneOptions& options);
void add_lora_options(CLI::App& app, FinetuneOptions& options);
// Adds the output folder, checkpoints, evaluations, threads; --home, --json and -v.
void add_training_run_options(CLI::App& app, FinetuneOptions& options);

}  // namespace troupe::tools
