#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <troupe/model/families/family.h>
#include <troupe/model/source/tensor_source.h>
#include <troupe/runtime/device/device.h>

// The packed weights of one stage. Loaded once, then read by every thread of the device.

namespace troupe::model {

struct Weight {
  kernels::PackedMatrix matrix;  // a matrix of the model, or else:
  std::vector<float> vector;     // a norm weight or bias
  bool empty() const { return matrix.rows == 0 && vector.empty(); }
  // The same weight; a matrix is not copied.
  Weight share() const;
};

// Rows of activations that a matrix multiplies.
struct RowKind {
  std::size_t columns = 0;
  quant::ActivationKind kind = quant::ActivationKind::kFloats;
  bool operator==(const RowKind&) const = default;
};

struct StageWeights {
  LayerRange range;
  std::vector<std::array<Weight, kSlots>> layers;  // [layer - range.begin][Slot]
  std::array<Weight, kEnds> ends;                  // what the first and the last stage have
  bool any_quantized = false;                      // some matrix multiplies quantized rows
  std::vector<RowKind> rows_multiplied;            // by its matrices, without repetition
  std::uint64_t bytes = 0;                         // all of the above, as packed

  // nullptr when this stage does not have it.
  const Weight* find(std::size_t layer, std::size_t slot) const;

  // True when some matrix of `columns` columns multiplies rows of this kind.
  bool multiplies(std::size_t columns, quant::ActivationKind kind) const {
    return std::find(rows_multiplied.begin(), rows_multiplied.end(), RowKind{columns, kind}) !=
           rows_multiplied.end();
  }
  const Weight& output_matrix(const ModelConfig& config) const {
    return ends[config.tied_embedding ? kTokenEmbedding : kOutput];
  }
};

// Every tensor of a stage in file terms: its layers', then those of the ends that it has.
std::vector<TensorSpec> stage_tensors(const ModelConfig& config, LayerRange range);

// The names of tensors that the file has as (inputs, outputs), as folders of GPT-2 do: a list in
// the header under this key.
constexpr std::string_view kTransposedKey = "troupe.transposed";

// Checks presence, shape, type and finite scales of each tensor, packs it on the threads of `pool`,
// and drops its file pages. A tensor that one of `siblings` (of the same model) has is shared with
// it instead.
//   Errors: kBadData naming tensor and value; of several bad tensors the first in stage_tensors'
//   order. kNotFound when a part of the model is not on this machine.
Result<std::unique_ptr<StageWeights>> load_weights(const TensorSource& source,
                                                   const ModelConfig& config, LayerRange range,
                                                   ThreadPool& pool,
                                                   std::span<const StageWeights* const> siblings);

}  // namespace troupe::model
