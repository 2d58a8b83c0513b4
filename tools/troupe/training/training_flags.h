#pragma once

#include <troupe/tools/troupe/training/finetune_options.h>

// The flags of `troupe finetune` and `troupe train`.

namespace troupe::tools {

// The data, the task, and the treatment of long texts.
void add_data_options(CLI::App& app, FinetuneOptions& options);
// Batches, the learning rate, the loss and the optimizer.
void add_step_options(CLI::App& app, FinetuneOptions& options);
void add_lora_options(CLI::App& app, FinetuneOptions& options);
// The output folder, checkpoints, evaluations, threads; --home, --json and -v.
void add_training_run_options(CLI::App& app, FinetuneOptions& options);

}  // namespace troupe::tools
