#pragma once

#include <CLI/CLI.hpp>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/training/finetune_options.h>

// Says which flags of `troupe finetune` and `troupe train` have a use in which runs.

namespace troupe::tools {

// Refuses flags that were given and would change nothing, or that do not go together: those of
// another task, those of adapters if none are trained, and those of a validation or a teacher that
// is not there.
//   app: the verb, parsed into `options`.
//   Errors: kInvalidArgument; the text says what the flag is for.
Status check_option_uses(const CLI::App& app, const FinetuneOptions& options);

}  // namespace troupe::tools
