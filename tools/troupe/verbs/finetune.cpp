#include <memory>

#include <troupe/tools/troupe/training/run_training.h>
#include <troupe/tools/troupe/training/training_flags.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {

Action add_finetune(CLI::App& app) {
  auto options = std::make_shared<FinetuneOptions>();
  add_model_argument(app, options->model);
  add_data_options(app, *options);
  add_step_options(app, *options);
  add_lora_options(app, *options);
  add_training_run_options(app, *options);
  app.footer(
      "Trains every weight in f32 and writes a Hugging Face folder that `troupe run` and\n"
      "`troupe classify` take as it is. The weights do not depend on threads, --micro-batch or\n"
      "the CPU. Ctrl-C saves a checkpoint, and the same command continues from it. With\n"
      "--lora-rank the folder holds an adapter in PEFT's format, which `troupe export` merges\n"
      "into a model.\n"
      "\n"
      "Examples:\n"
      "  troupe finetune smollm2-135m --data notes.txt --task lm -o tuned\n"
      "  troupe finetune ./minilm --data train.jsonl --task classify --epochs 3 -o classifier\n"
      "  troupe finetune smollm2-135m --data chats.jsonl --task chat --lora-rank 8 -o adapter\n"
      "  troupe run ./tuned \"Hello\"");
  return [options, &app] { return run_training(app, *options); };
}

}  // namespace troupe::tools
