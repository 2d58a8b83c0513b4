#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <troupe/model/files/hf_config.h>

// How config.json says that a folder's weights are quantized. Pure.

namespace troupe::model {

// Names that files give to the scales of a matrix "NAME.weight".
inline constexpr std::string_view kHfScaleSuffixes[] = {"_scale_inv", "_scale"};

struct HfQuantization {
  bool is_quantized = false;  // matrices of 8-bit floats, or of MXFP4, must have scales
  // The rows and columns of a block that shares a scale; empty if config.json does not say.
  std::vector<std::int64_t> block;
};

// Reads the field "quantization_config". Weights of 8-bit floats can be read, by whatever method
// they were made, and those of MXFP4 if the family has them.
//   Errors: kBadData naming a method that makes other weights.
Result<HfQuantization> read_quantization(const HfConfig& config, bool knows_mxfp4);

// Says whether a tensor is only there to quantize activations, or keys and values, which this
// version does not do.
bool is_activation_scale(std::string_view tensor);

}  // namespace troupe::model
