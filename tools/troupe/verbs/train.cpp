#include <memory>

#include <troupe/tools/troupe/training/run_training.h>
#include <troupe/tools/troupe/training/training_flags.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {

Action add_train(CLI::App& app) {
  auto options = std::make_shared<FinetuneOptions>();
  app.add_option("--config", options->model_file, "A TOML file that describes the model")
      ->required()
      ->type_name("FILE");
  add_data_options(app, *options);
  add_step_options(app, *options);
  add_training_run_options(app, *options);
  app.footer(
      "Trains a new model, whose first weights are drawn with the seed in the file, and writes a\n"
      "Hugging Face folder that `troupe run` and `troupe classify` take as it is. The file, for\n"
      "instance:\n"
      "  family = \"llama\"         # or mistral, qwen2, qwen3, gpt2, bert\n"
      "  tokenizer = \"smollm2-135m\"  # a folder or GGUF file, or a model's name\n"
      "  layers = 8\n"
      "  channels = 256\n"
      "  ffn_channels = 768\n"
      "  heads = 8\n"
      "  kv_heads = 4\n"
      "  context = 512\n"
      "  seed = 7\n"
      "Other keys: vocabulary, head_dim, rope_theta, window, norm_epsilon, tied_embedding,\n"
      "token_types, deviation.\n"
      "\n"
      "Examples:\n"
      "  troupe train --config model.toml --data notes.txt --task lm --epochs 3 -o small\n"
      "  troupe run ./small \"Hello\"");
  return [options, &app] { return run_training(app, *options); };
}

}  // namespace troupe::tools
