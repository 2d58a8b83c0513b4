#pragma once

#include <cstddef>
#include <optional>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>
#include <troupe/model/planning/partition.h>
#include <troupe/runtime/kernels/kv_page.h>

// How much memory the layers of a model take, from its header alone. Pure; used by the coordinator.

namespace troupe::model {

// Counts weights as they lie in the file (packed weights take the same number of bytes), or in the
// format into which they are read, and the keys and values of `context` positions in whole pages.
// Without `kv_type`, their type is the model's default.
MemoryNeed memory_need(const GgufHeader& header, const ModelConfig& config,
                       std::optional<kernels::KvType> kv_type, std::size_t context);

}  // namespace troupe::model
