#pragma once

#include <CLI/CLI.hpp>

#include <troupe/tools/troupe/training/finetune_options.h>

// Runs `troupe finetune` and `troupe train` once their flags are read: trains, or shows what it
// would do, and writes the result. Main thread only.

namespace troupe::tools {

// `app` is the verb, parsed into `options`. Returns the exit status.
int run_training(const CLI::App& app, FinetuneOptions options);

}  // namespace troupe::tools
