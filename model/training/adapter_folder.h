#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/training/lora.h>

// Adapters as PEFT's files: a folder with adapter_config.json and adapter_model.safetensors, in
// which a module's A is (rank, inputs) and B is (outputs, rank), f32. A classifier's folder has
// labels.json besides, a list of names, since PEFT's files have no place for them.
// Source: huggingface/peft, docs/source/developer_guides/checkpoint.md.

namespace troupe::model {

// What the folder says besides the adapters' values.
struct AdapterFolder {
  std::string base;  // what the user called the model
  // The names of a classifier's labels: its matrix and bias are in the folder, too. Else empty.
  std::vector<std::string> labels;
  LoraOptions options;
};

// Writes the adapters of `parameters`, and the tensors of the model that are trained besides.
// adapter_model.safetensors comes last, so that a folder that has one is whole. Returns its
// SHA-256.
//   Errors: what the system says.
Result<std::string> write_adapter_folder(const std::filesystem::path& folder,
                                         const AdapterFolder& about, const ModelConfig& config,
                                         Parameters& parameters);

// The names of the labels of an adapter's classifier, from labels.json of the folder, or LABEL_0
// and so on as transformers names them; nothing if it has no classifier.
//   Errors: as below.
Result<std::vector<std::string>> adapter_labels(const std::filesystem::path& folder);

// What the head of an adapter with a classifier reads, from "task_type" of adapter_config.json.
//   Errors: as below.
Result<EncoderHead> adapter_head(const std::filesystem::path& folder);

// Reads a folder, written here or by PEFT, adds its adapters to the parameters, and takes over a
// classifier that it has.
//   Errors: kNotFound; kBadData naming the tensor and its shape if it does not fit the model, or
//   naming the field of adapter_config.json that asks for what this version cannot compute.
Status read_adapter_folder(const std::filesystem::path& folder, const ModelConfig& config,
                           Parameters& parameters);

}  // namespace troupe::model
