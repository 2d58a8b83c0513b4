#include <troupe/tools/troupe/training/training_flags.h>

namespace troupe::tools {

void add_data_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("--data", options.data, "The data to train on: .jsonl, .csv, or plain text")
      ->required()
      ->type_name("FILE");
  app.add_option("--validation", options.validation, "Other data on which to measure the loss")
      ->type_name("FILE");
  app.add_option("--validation-split", options.validation_split,
                 "The part of the rows, drawn by --seed, that is kept for validation")
      ->check(CLI::Range(0.0001, 0.9999))
      ->type_name("PART");
  app.add_option(
         "--task", options.task,
         "lm: predict the next token of texts; chat: the assistant's messages; classify: texts "
         "with labels; token: words with labels; mlm: tokens that are hidden; regress: texts with "
         "numbers; embed: texts that belong together; dpo: prefer the chosen one of two answers")
      ->check(CLI::IsMember({"lm", "chat", "classify", "token", "mlm", "regress", "embed", "dpo"}))
      ->capture_default_str();
  app.add_option("--text-field", options.text_field, "Field of a row's text")
      ->capture_default_str();
  app.add_option("--label-field", options.label_field, "Field of a row's label")
      ->capture_default_str();
  app.add_option("--max-length", options.length_max,
                 "Tokens of an example [lm, chat, dpo: 512, others: 128]")
      ->check(whole_number(2, 1 << 20));
  app.add_option("--truncate", options.truncate,
                 "The end at which a longer text is cut off, or drop: leave out its row")
      ->check(CLI::IsMember({"left", "right", "drop"}))
      ->capture_default_str();
  app.add_option("--order", options.order, "Order of the examples in an epoch")
      ->check(CLI::IsMember({"file", "shuffled"}))
      ->capture_default_str();
  app.add_flag("--drop-last", options.drops_last,
               "Leave out an epoch's last batch if it is smaller than the others");
}

void add_step_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("--epochs", options.epochs, "How often each example is used")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-steps", options.steps_max, "Number of steps, which overrides the epochs")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--batch-size", options.batch_size,
                 "Examples in a step, in all; dpo, embed: rows [lm, chat, dpo: 8, others: 32]")
      ->check(whole_number(1, 1 << 20));
  app.add_option("--micro-batch", options.micro_batch,
                 "Examples in memory at once; changes no bit of the result [all]")
      ->check(whole_number(1, 1 << 20));
  app.add_option("--lr", options.learning_rate,
                 "Learning rate [lm, chat, dpo: 2e-5, embed: 5e-5, others: 1e-4; train: 5e-4]")
      ->check(CLI::PositiveNumber);
  app.add_option("--schedule", options.schedule, "How the learning rate falls")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}))
      ->capture_default_str();
  app.add_option("--warmup", options.warmup, "Steps in which the learning rate rises from 0")
      ->check(whole_number(0, UINT64_MAX / 2))
      ->capture_default_str();
  app.add_option("--weight-decay", options.weight_decay, "AdamW's weight decay, for matrices")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--decay-all", options.decays_vectors, "Decay norms and biases, too");
  app.add_option("--beta1", options.beta1, "AdamW's beta1")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  app.add_option("--beta2", options.beta2, "AdamW's beta2")
      ->check(CLI::Range(0.0, 0.999999))
      ->capture_default_str();
  app.add_option("--epsilon", options.epsilon, "AdamW's epsilon")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--beta", options.beta, "dpo: how close the model stays to the original")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--temperature", options.temperature,
                 "embed: the divisor of the cosines of texts [0.05]; with --teacher: the divisor "
                 "of both models' logits [2]")
      ->check(CLI::Range(1e-4, 100.0));
  app.add_option("--teacher", options.teacher,
                 "lm, chat: a model of the same vocabulary, whose next-token distributions are "
                 "learned, too")
      ->type_name("MODEL");
  app.add_option("--kd-ratio", options.teacher_ratio,
                 "The part of the teacher in the loss; the rest is the data's [0.5]")
      ->check(CLI::Range(0.0001, 1.0));
  app.add_option("--label-smoothing", options.label_smoothing,
                 "lm, chat, classify, token, mlm: the part of each target that is spread over all "
                 "classes")
      ->check(CLI::Range(0.0, 0.999));
  app.add_option("--mlm-probability", options.mask_rate,
                 "mlm: the part of the tokens that is hidden")
      ->check(CLI::Range(0.0001, 0.9999))
      ->capture_default_str();
  app.add_option("--class-weights", options.class_weights,
                 "classify, token: balanced, or factors of the labels' losses: NAME=2,OTHER=0.5")
      ->type_name("WEIGHTS");
  app.add_option("--clip-norm", options.clip_norm,
                 "Largest norm of the gradients; 0 means no limit [1]")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", options.seed, "Seed of the random order")->capture_default_str();
}

void add_lora_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("--lora-rank", options.lora_rank,
                 "Train low-rank adapters of this rank instead of the weights")
      ->check(whole_number(1, 1 << 16));
  app.add_option("--lora-alpha", options.lora_alpha,
                 "The factor of an adapter, times the rank [twice the rank]")
      ->check(CLI::PositiveNumber);
  app.add_option("--lora-dropout", options.lora_dropout,
                 "The part of an adapter's input that is set to 0 in each step [0]")
      ->check(CLI::Range(0.0, 0.999));
  app.add_option("--lora-targets", options.lora_targets,
                 "Matrices that get an adapter: q, k, v, o, gate, up, down, or their names in the "
                 "model's folder, with commas between them")
      ->capture_default_str();
  app.add_flag("--rslora", options.rank_stabilized,
               "Divide alpha by the square root of the rank, not by the rank");
}

void add_training_run_options(CLI::App& app, FinetuneOptions& options) {
  app.add_option("-o,--output-dir", options.output, "The folder of the trained model")
      ->required()
      ->type_name("DIR");
  app.add_option("--save-every", options.save_every, "Steps between checkpoints [none]")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option("--keep", options.keep, "Number of checkpoints to keep")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  app.add_option("--eval-every", options.evaluate_every, "Steps between evaluations [at the end]")
      ->check(whole_number(1, UINT64_MAX / 2));
  app.add_option(
         "--patience", options.patience,
         "Stop after this number of evaluations without a smaller loss, with the best weights")
      ->check(whole_number(1, 1'000'000));
  app.add_option("--show", options.shown,
                 "Do not train: print the number of steps, the memory and the first N examples")
      ->check(whole_number(0, 1 << 20))
      ->type_name("N");
  app.add_option("--resume", options.resume,
                 "Continue from the folder's newest checkpoint of the same run, or never")
      ->check(CLI::IsMember({"auto", "never"}))
      ->capture_default_str();
  app.add_flag("--checkpointing", options.checkpointing,
               "Keep less of the forward pass: less memory, a third more time, the same bits");
  app.add_option("-t,--threads", options.threads, "Threads [every usable CPU]")
      ->check(whole_number(1, 1024));
  add_common_options(app, options.common);
  app.get_option("--json")->description(
      "Print a JSON object on stdout for each step, and one at the end");
}

}  // namespace troupe::tools
