#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/training/lora.h>

// Adapters as PEFT's files: a folder with adapter_config.json and adapter_model.safetensors, in
// which a module's A is (rank, inputs) and B is (outputs, rank), f32. A classifier's folder also
// has labels.json, a list of names, because PEFT's files have no place for them.
// Source: huggingface/peft, docs/source/developer_guides/checkpoint.md.

namespace troupe::model {

// What the folder has besides the adapters' values.
struct AdapterFolder {
  std::string base;  // what the user called the model
  // The names of a classifier's labels, if its matrix and bias are in the folder, too; otherwise
  // empty.
  std::vector<std::string> labels;
  LoraOptions options;
};

// Writes the adapters of `parameters`, and the other tensors of the model that are trained.
// adapter_model.safetensors comes last, so that a folder that has one is whole. Returns its
// SHA-256.
//   Errors: what the system says.
Result<std::string> write_adapter_folder(const std::filesystem::path& folder,
                                         const AdapterFolder& about, const ModelConfig& config,
                                         Parameters& parameters);

// Returns the names of the labels of an adapter's classifier, from labels.json of the folder, or
// LABEL_0 and so on as transformers names them; nothing if there is no classifier.
//   Errors: as below.
Result<std::vector<std::string>> adapter_labels(const std::filesystem::path& folder);

// Says what the head of an adapter with a classifier reads, by "task_type" of adapter_config.json.
//   Errors: as below.
Result<EncoderHead> adapter_head(const std::filesystem::path& folder);

// Reads a folder, written here or by PEFT, adds its adapters to the parameters, and takes over a
// classifier that it has.
//   Errors: kNotFound; kBadData naming the tensor and its shape if it does not fit the model, or
//   naming the field of adapter_config.json that asks for something that this version cannot
//   compute.
Status read_adapter_folder(const std::filesystem::path& folder, const ModelConfig& config,
                           Parameters& parameters);

}  // namespace troupe::model
