#pragma once

#include <memory>
#include <string>
#include <vector>

#include <troupe/model/source/tensor_source.h>
#include <troupe/model/training/finetune.h>
#include <troupe/model/training/memory_plan.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/tools/troupe/training/finetune_options.h>

// The things that a run of `troupe finetune` or `troupe train` needs, made from its options: the
// model, the examples, the trainer. Called by run_training only.

namespace troupe::tools {

struct Job {
  std::unique_ptr<model::TensorSource> source, teacher;
  model::ModelConfig config, teacher_config;
  std::shared_ptr<const model::Tokenizer> tokenizer;
  model::Dataset data, validation;
  std::size_t negatives = 0;      // for pairs: the number of hard negatives in each row
  model::MaskingOptions masking;  // of masked tokens
  std::vector<float> class_weights;
  std::string data_sha256;
  model::FolderTexts texts;
  model::MemoryQuestion memory;  // the memory that the run will need
  std::unique_ptr<Device> device;
  std::unique_ptr<model::Trainer> trainer;  // destroyed before the device on which it runs
};

// Returns the number of examples that a row of the data becomes.
std::size_t examples_of_row(const FinetuneOptions& options, const Job& job);

// Opens the model and the data, and says on stderr what it read. Loads no weights.
//   Errors: the options ask for something that the model or the data do not have, in whole
//   sentences.
Result<Job> prepare_job(const FinetuneOptions& options);

// Loads the trainer.
//   Errors: kResourceExhausted, before anything is loaded, if the run needs more memory than there
//   is.
Status load_trainer(Job* job);

// Returns the options of the run, with its identity.
model::FinetuneOptions run_options(const FinetuneOptions& options, const Job& job);

// Writes the result, a model's folder or an adapter's, and returns the SHA-256 of its weights.
Result<std::string> write_result(const FinetuneOptions& options, const Job& job);

}  // namespace troupe::tools
