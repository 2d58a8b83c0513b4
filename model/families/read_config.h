#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>
#include <troupe/runtime/kernels/kv_page.h>

// Reads what a model is made of, and what it takes, from its header alone. Pure.

namespace troupe::model {

// Reads the configuration with the reader of the model's family and checks every field: each
// product is bounded, heads divide, dimensions are above 0, and every tensor has a use.
//   Errors: kBadData naming the file, the field and the value.
Result<ModelConfig> config_from_gguf(const GgufHeader& header);

// Returns f32 if every matrix of the model's layers is F32, else f16. It is the same for all stages
// of a model.
kernels::KvType default_kv_type(const GgufHeader& header);

// Returns the names of the tensors that a stage of `range` needs of this file, each once, so that a
// node can fetch only these: tensors_of(config, range) and their scales.
std::vector<std::string> tensors_of(const GgufHeader& header, const ModelConfig& config,
                                    LayerRange range);

// Returns the number of bytes that the tensors of a stage of `range` have in the file, or in the
// format that they are read into.
std::uint64_t tensor_bytes_of(const GgufHeader& header, const ModelConfig& config,
                              LayerRange range);

}  // namespace troupe::model
