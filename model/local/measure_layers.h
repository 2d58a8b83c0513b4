#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>
#include <troupe/model/planning/layer_cost.h>
#include <troupe/runtime/device/device.h>

// Measures what a model's layers cost on this machine with its own kernels, before any weight is
// here: a stage of the model's shapes and formats, filled with zeros, runs steps as an engine cuts
// them.

namespace troupe::model {

struct LayerCostOptions {
  std::optional<kernels::KvType> kv_type;  // absent: default_kv_type
  std::size_t chunk_rows = 32;             // rows in a step of a prompt
  std::uint64_t bytes_max = 0;             // memory that the measurement may take; 0: 128 MiB
};

// Runs on the device's thread, for about three quarters of a second, and longer under a quota.
//   Errors: as Stage::load; kResourceExhausted if not even one layer fits.
Result<LayerCost> measure_layers(const GgufHeader& header, const ModelConfig& config,
                                 Device& device, const LayerCostOptions& options);

}  // namespace troupe::model
