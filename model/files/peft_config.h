#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/files/safetensors.h>

// What the files of PEFT's LoRA adapters say: adapter_config.json and adapter_model.safetensors.
// Source: huggingface/peft, docs/source/developer_guides/checkpoint.md.

namespace troupe::model {

inline constexpr const char* kPeftConfigName = "adapter_config.json";
inline constexpr const char* kPeftWeightsName = "adapter_model.safetensors";
// The prefix of the names of a model's modules.
inline constexpr const char* kPeftModulePrefix = "base_model.model.";
inline constexpr std::uint64_t kPeftRankMax = 1 << 16;

// Reads a JSON file of such a folder, which somebody else may have written.
Result<nlohmann::json> read_peft_json(const std::filesystem::path& path);

// Reads adapter_config.json of `folder`, and returns what B A x is multiplied by.
//   Errors: kNotFound; kBadData naming a field that asks for what this version cannot compute.
Result<float> read_peft_scale(const std::filesystem::path& folder);

// Returns a tensor's values as f32, in the file's order.
//   Errors: kBadData if its type is none of F32, F16 and BF16.
Result<std::vector<float>> read_peft_values(const Safetensors& file,
                                            const SafetensorsTensor& tensor);

}  // namespace troupe::model
