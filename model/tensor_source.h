#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <troupe/model/gguf.h>

// Where a stage finds its weights: a whole model file on this machine, or the header and just the
// tensors of some layers as content-addressed blobs in the store. Any thread may read.

namespace troupe::model {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const GgufHeader& header() const = 0;
  // The raw bytes of a tensor; valid as long as the source. kNotFound names the tensor.
  virtual Result<std::span<const std::byte>> bytes(std::string_view tensor) const = 0;
  // The caller has copied the tensor; its file pages may go.
  virtual void drop(std::string_view tensor) const = 0;
};

// A GGUF file, memory-mapped and checked.
Result<std::unique_ptr<TensorSource>> open_gguf(const std::string& path);

}  // namespace troupe::model
