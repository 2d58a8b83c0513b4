#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <troupe/tools/troupe/options.h>

// The options of `troupe finetune` and `troupe train`. Plain values.

namespace troupe::tools {

// The command line.
struct FinetuneOptions {
  CommonOptions common;
  std::string model;
  std::string model_file;  // of `train`, which has no model
  std::string data, validation, task = "lm", output;
  std::string schedule = "constant", order = "shuffled", truncate = "right", resume = "auto";
  std::string text_field = "text", label_field = "label";
  double learning_rate = 0.0, weight_decay = 0.01, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip_norm = -1.0;
  double beta = 0.1;           // for dpo
  double temperature = 0.0;    // for embed and a teacher; 0: its default
  std::string teacher;         // the teacher, whose model is learned from; "" means none
  double teacher_ratio = 0.0;  // the teacher's part of the loss; 0 means the default
  double label_smoothing = 0.0;
  double mask_rate = 0.15;  // for mlm
  std::string class_weights;
  double validation_split = 0.0;  // the part of the rows that is kept for validation
  std::uint64_t patience = 0;
  std::optional<std::size_t> shown;  // --show: the number of examples to print instead of training
  std::uint64_t epochs = 1, steps_max = 0, warmup = 0, seed = 0, save_every = 0, evaluate_every = 0;
  std::size_t batch_size = 0, micro_batch = 0, length_max = 0, keep = 2;
  int threads = 0;
  std::size_t lora_rank = 0;  // 0 means that every weight is trained
  double lora_alpha = 0.0, lora_dropout = 0.0;
  std::string lora_targets = "all-linear";
  bool rank_stabilized = false;
  bool drops_last = false, decays_vectors = false, checkpointing = false;
};

// True if the task trains an encoder.
inline bool trains_encoder(const FinetuneOptions& options) {
  return options.task == "classify" || options.task == "regress" || options.task == "token" ||
         options.task == "mlm" || options.task == "embed";
}

// Fills in the defaults of each task where the options leave them open (docs/training.md).
void fill_defaults(FinetuneOptions* options);

}  // namespace troupe::tools
