#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/source/tensor_source.h>
#include <troupe/runtime/device/device.h>

// The packed weights of one stage. They are loaded once and then read by every thread of the
// device.

namespace troupe::model {

struct AdapterWeights;

struct Weight {
  kernels::PackedMatrix matrix;  // the values, if the weight is a matrix
  std::vector<float> vector;     // the values, if it is a norm weight or a bias
  // The adapter that is added to the products of a matrix of this stage; nullptr if there is none.
  const AdapterWeights* adapter = nullptr;
  bool empty() const { return matrix.rows == 0 && vector.empty(); }
  // Returns the same weight without copying its matrix.
  Weight share() const;
};

// The adapter of a matrix, in f32: A (rank, inputs) and B (outputs, rank).
struct AdapterWeights {
  Weight a, b;
};

// The effect on a stage of reading matrices of a format without kernels into another format.
struct FormatChange {
  quant::Type from, to;
  std::uint64_t file_bytes = 0, bytes = 0;  // of the matrices in `from` and in `to`
  float error = 0;                          // the largest change of a weight
};

// A kind of rows of activations that matrices multiply.
struct RowKind {
  std::size_t columns = 0;
  quant::ActivationKind kind = quant::ActivationKind::kFloats;
  bool operator==(const RowKind&) const = default;
};

struct StageWeights {
  LayerRange range;
  std::vector<std::array<Weight, kSlots>> layers;  // [layer - range.begin][Slot]
  std::vector<std::vector<std::array<Weight, kExpertSlots>>> experts;  // [layer][expert]; or empty
  std::vector<std::array<AdapterWeights, kSlots>> adapters;            // [layer][Slot]; or empty
  std::array<Weight, kEnds> ends;        // filled in the first and the last stage
  bool any_quantized = false;            // some matrix multiplies quantized rows
  std::vector<RowKind> rows_multiplied;  // the kinds that its matrices multiply
  std::uint64_t bytes = 0;               // all weights as packed
  std::vector<FormatChange> changes;     // of the weights that no sibling had

  StageWeights() = default;
  StageWeights(const StageWeights&) = delete;  // weights point to their adapters
  StageWeights& operator=(const StageWeights&) = delete;

  // Returns the place of the weight of `spec`, which is of this stage.
  Weight& at(const TensorSpec& spec);
  // Returns nullptr if this stage does not have the weight.
  const Weight* find(const TensorSpec& spec) const;

  // Says whether some matrix of `columns` columns multiplies rows of this kind.
  bool multiplies(std::size_t columns, quant::ActivationKind kind) const {
    return std::find(rows_multiplied.begin(), rows_multiplied.end(), RowKind{columns, kind}) !=
           rows_multiplied.end();
  }
  const Weight& output_matrix(const ModelConfig& config) const {
    return ends[config.tied_embedding ? kTokenEmbedding : kOutput];
  }
};

// Says in a sentence which weights were read into another format, with their bytes and the largest
// change of a weight; "" if none were.
std::string changes_text(const StageWeights& weights);

// Checks that the header has each tensor of the model, with the right shape and a type that can be
// computed with. Values are not read.
//   Errors: kBadData naming the first tensor in the order of stage_tensors.
Status check_tensors(const GgufHeader& header, const ModelConfig& config);

// Checks that each tensor of a stage is present, with the right shape and type and finite scales,
// packs it on the threads of `pool`, and drops its file pages. A tensor that one of `siblings` (of
// the same model) has is shared with it instead. With an accelerator, matrices are copied there in
// pieces as they are packed, so that the host holds one piece a thread.
//   Errors: kBadData naming tensor and value (if several tensors are bad, the first in the order of
//   stage_tensors); kNotFound if a part of the model is not on this machine; those of the
//   accelerator.
Result<std::unique_ptr<StageWeights>> load_weights(const TensorSource& source,
                                                   const ModelConfig& config, LayerRange range,
                                                   ThreadPool& pool,
                                                   std::span<const StageWeights* const> siblings,
                                                   Accelerator* accelerator = nullptr);

}  // namespace troupe::model
