#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>

// Decides which format each tensor of a quantized file gets. A recipe has a name that people know,
// such as Q4_K_M: most matrices are Q4_K, and those that matter more have more bits. The choices
// are those of llama.cpp's llama-quantize without an importance matrix (src/llama-quant.cpp). Pure.

namespace troupe::model {

struct Recipe {
  std::string_view name;
  quant::Type type;         // of most matrices
  std::uint32_t file_type;  // general.file_type
};

std::span<const Recipe> recipes();
// Returns nullptr if there is no such recipe. Upper and lower case are the same, and Q3_K, Q4_K and
// Q5_K mean their M.
const Recipe* find_recipe(std::string_view name);

// Returns the type of each tensor. `tensors` are all of the file's, under their GGUF names; tensors
// that are not quantized (vectors, norms, routers of experts) keep their own types.
std::vector<quant::Type> choose_types(const Recipe& recipe, const ModelConfig& config,
                                      std::string_view architecture,
                                      std::span<const TensorInfo> tensors);

}  // namespace troupe::model
