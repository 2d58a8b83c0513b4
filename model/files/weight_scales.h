#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <troupe/model/files/gguf.h>
#include <troupe/runtime/quant/scale_grid.h>

// Scales that are a tensor of their own, beside a matrix of 8-bit floats or of MXFP4_SPLIT:
// "blk.0.attn_q.weight_scale" multiplies "blk.0.attn_q.weight". Its shape says which weights share
// a scale:
//
//   one value in all                 all of them
//   (rows), (rows, 1)                those of a row
//   (rows / a, columns / b)          those of a block of a x b, rounded up
//   (matrices), (matrices, ...)      of stacked matrices, as above for each
//
// A block is as large as header_keys::kScaleBlock says, if the shapes agree; otherwise the rows and
// columns are divided evenly. Pure.
//
// Source: transformers (integrations/finegrained_fp8.py) and compressed-tensors
// (quantization/lifecycle/forward.py), which pads the last blocks.

namespace troupe::model {

inline constexpr std::string_view kScaleSuffix = "_scale";

// Returns the name of the tensor that would have the scales of the matrix `name`.
std::string scale_name(std::string_view name);
// Returns the name of the matrix whose scales a tensor of this name holds, or "".
std::string_view scaled_name(std::string_view name);

// Says which weights of a matrix share a scale.
struct MatrixScales {
  const TensorInfo* tensor = nullptr;  // in the header; nullptr if the matrix has no scales
  quant::ScaleGrid grid;               // without values
};
// Finds the scales of a matrix, vector or stack of matrices.
//   Errors: kBadData if their shapes do not fit, or if the matrix has a format that has none.
Result<MatrixScales> find_scales(const GgufHeader& header, const TensorInfo& matrix);

// Returns the grid, with the values that it reads from `bytes`, the bytes of scales.tensor.
//   Errors: kBadData if a scale is not a finite number.
Result<quant::ScaleGrid> read_scales(const MatrixScales& scales, std::span<const std::byte> bytes);

}  // namespace troupe::model
