#pragma once

#include <optional>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>
#include <troupe/model/planning/partition.h>
#include <troupe/runtime/kernels/kernels.h>

// What the layers of a model take of memory, from its header alone. Pure; used by the coordinator.

namespace troupe::model {

// Weights as they lie in the file (packed ones take as much), and keys and values of `context`
// positions, in whole pages. `kv_type` absent: as the model has it.
MemoryNeed memory_need(const GgufHeader& header, const ModelConfig& config,
                       std::optional<kernels::KvType> kv_type, std::size_t context);

}  // namespace troupe::model
