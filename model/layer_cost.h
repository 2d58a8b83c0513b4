#pragma once

#include <cstddef>

#include <troupe/model/config.h>
#include <troupe/model/gguf.h>
#include <troupe/runtime/device.h>

// What a model's layers cost on one machine, measured with its own kernels before any weight is
// here: a stage of its shapes and formats, filled with zeros, runs steps as an engine cuts them.

namespace troupe::model {

// Rows of the step of several streams that is measured beside a step of one.
constexpr std::size_t kCostRows = 4;
// Positions of the prompt that a measurement reads.
constexpr std::size_t kCostPrompt = 512;

struct LayerCost {
  double row_us = 0;         // a layer, in a step of one row
  double rows_us = 0;        // a layer, in a step of kCostRows sequences' rows
  double prompt_row_us = 0;  // a layer, for each row of a prompt of kCostPrompt positions
  double head_row_us = 0;    // what the logits add to a step of one row
  double head_rows_us = 0;   // and to one of kCostRows
  double bytes_s = 0;        // of weights that a step of one row reads
  double products_s = 0;     // multiplications by weights that a prompt's rows do
  bool known() const { return row_us > 0; }
  template <class A>
  void serialize(A& a) {
    a(row_us, rows_us, prompt_row_us, head_row_us, head_rows_us, bytes_s, products_s);
  }
};

struct LayerCostOptions {
  std::optional<kernels::KvType> kv_type;  // absent: default_kv_type
  std::size_t chunk_rows = 32;             // of a prompt's step
  std::uint64_t bytes_max = 0;             // of memory that it may take; 0: 128 MiB
};
// On the device's thread; takes half a second or so (several times that where a control
// group's quota stops the threads now and then, so that the stops count).
//   Errors: as Stage::load; kResourceExhausted when not even one layer fits.
Result<LayerCost> measure_layers(const GgufHeader& header, const ModelConfig& config,
                                 Device& device, const LayerCostOptions& options);

}  // namespace troupe::model
