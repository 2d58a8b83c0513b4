#pragma once

#include <CLI/CLI.hpp>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/training/finetune_options.h>

// Which flags of `troupe finetune` and `troupe train` have a meaning for which runs.

namespace troupe::tools {

// Refuses flags that were given and would change nothing: those of another task, those of adapters
// where none are trained, and those of a validation or a teacher that is not there.
//   app: the verb, parsed into `options`.
//   Errors: kInvalidArgument; the text says what the flag is for.
Status check_option_uses(const CLI::App& app, const FinetuneOptions& options);

}  // namespace troupe::tools
