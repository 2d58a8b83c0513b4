#pragma once

#include <cstddef>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>
#include <troupe/runtime/device/device.h>

// What a model's layers cost on one machine, measured with its own kernels before any weight is
// here: a stage of its shapes and formats, filled with zeros, runs steps as an engine cuts them.

namespace troupe::model {

// Rows of the step of several streams that is measured beside a step of one.
constexpr std::size_t kCostRows = 4;
// Positions of the prompt that a measurement reads.
constexpr std::size_t kCostPrompt = 512;

// Of steps through so many layers one after the other: what caches keep of them until the next step
// depends on that.
struct StepCost {
  std::uint32_t layers = 0;
  double row_us = 0;        // a layer, in a step of one row
  double rows_us = 0;       // a layer, in a step of kCostRows sequences' rows
  double head_row_us = 0;   // what the logits add to a step of one row
  double head_rows_us = 0;  // and to one of kCostRows
  template <class A>
  void serialize(A& a) {
    a(layers, row_us, rows_us, head_row_us, head_rows_us);
  }
};

// Times are those of threads that nothing stops; `share` says how much of the time a control
// group's quota lets all of them run.
struct LayerCost {
  StepCost many, few;        // `few` without layers: not known apart
  double prompt_row_us = 0;  // a layer, for each row of a prompt of kCostPrompt positions
  double bytes_s = 0;        // of weights that a step of one row reads
  double products_s = 0;     // multiplications by weights that a prompt's rows do
  double share = 1;          // more than 0, at most 1
  std::uint32_t threads = 1, host_cpus = 1;  // of the device, and of the machine that it is on
  bool known() const { return many.row_us > 0; }
  // Of a stage of so many layers: between `few` and `many`.
  StepCost of(std::size_t layers) const;
  template <class A>
  void serialize(A& a) {
    a(many, few, prompt_row_us, bytes_s, products_s, share, threads, host_cpus);
  }
};

struct LayerCostOptions {
  std::optional<kernels::KvType> kv_type;  // absent: default_kv_type
  std::size_t chunk_rows = 32;             // of a prompt's step
  std::uint64_t bytes_max = 0;             // of memory that it may take; 0: 128 MiB
};
// On the device's thread; takes three quarters of a second or so, and longer under a quota.
//   Errors: as Stage::load; kResourceExhausted when not even one layer fits.
Result<LayerCost> measure_layers(const GgufHeader& header, const ModelConfig& config,
                                 Device& device, const LayerCostOptions& options);

}  // namespace troupe::model
