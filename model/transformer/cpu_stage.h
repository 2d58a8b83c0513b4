#pragma once

#include <memory>

#include <troupe/model/transformer/stage.h>

// A stage whose layers the CPU's threads compute.

namespace troupe::model {

// Called by Stage::load, which has checked the range, and has its errors.
Result<std::unique_ptr<Stage>> load_on_cpu(const TensorSource& source, const ModelConfig& config,
                                           LayerRange range, Device& device,
                                           const StageOptions& options);

}  // namespace troupe::model
