#include <troupe/tools/troupe/training/finetune_options.h>

namespace troupe::tools {

void fill_defaults(FinetuneOptions* options) {
  const bool classify = trains_encoder(*options);
  const bool embeds = options->task == "embed";
  const double rate = !options->model_file.empty() ? 5e-4 : embeds ? 5e-5 : classify ? 1e-4 : 2e-5;
  if (options->learning_rate == 0.0) options->learning_rate = rate;
  if (options->batch_size == 0) options->batch_size = classify ? 32 : 8;
  if (options->length_max == 0) options->length_max = classify ? 128 : 512;
  if (!options->teacher.empty() && options->teacher_ratio == 0.0) options->teacher_ratio = 0.5;
  if (options->temperature == 0.0) options->temperature = options->teacher.empty() ? 0.05 : 2.0;
  if (options->clip_norm < 0.0) options->clip_norm = 1.0;
}

}  // namespace troupe::tools
