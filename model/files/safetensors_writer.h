#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// Writes safetensors files tensor by tensor, so that no second copy of a model lies in memory. The
// file has its name only when it is whole and on the disk. Any thread.

namespace troupe::model {

struct TensorToWrite {
  std::string name;
  std::vector<std::uint64_t> shape;
  quant::Type type = quant::Type::kF32;  // or F16 or BF16
};

// Asks for the values of tensor `index`, as many as the product of its shape.
using TensorValues = std::function<Result<std::vector<float>>(std::size_t index)>;

// Writes the tensors in the given order to a new file beside `path`, which then takes its place.
// Returns the SHA-256 of the file's content.
//   Errors: those of `values`; kInvalidArgument naming a tensor with a value that its type cannot
//   hold; what the system says, such as a full disk; then `path` is as it was before.
Result<std::string> write_safetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const TensorValues& values);

}  // namespace troupe::model
