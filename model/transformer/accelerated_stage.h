#pragma once

#include <memory>

#include <troupe/model/transformer/stage.h>

// A stage whose layers an accelerator computes (runtime/accelerator.h), with the bits of the CPU's
// stage. Its weights and its keys and values lie on the accelerator; checks, the table of pages and
// the rotations' table stay on the host. A model that needs something that the accelerator lacks is
// refused when the stage loads: nothing falls back to the CPU inside a stage.

namespace troupe::model {

// Says whether accelerators compute this model.
//   Errors: kFailedPrecondition naming what they lack.
Status check_accelerated(const ModelConfig& config);

// Loads a stage onto device.accelerator(), which must not be null. Called by Stage::load, which has
// checked the range, and has its errors.
Result<std::unique_ptr<Stage>> load_accelerated(const TensorSource& source,
                                                const ModelConfig& config, LayerRange range,
                                                Device& device, const StageOptions& options);

}  // namespace troupe::model
