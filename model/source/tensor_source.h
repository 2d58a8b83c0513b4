#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <troupe/model/files/gguf.h>

// Where a stage finds its weights: in a whole model on this machine (source/open_model.h), or in
// the store, which has the header and the tensors of some layers as content-addressed blobs
// (store/blob_source.h). Any thread may read.

namespace troupe::model {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const GgufHeader& header() const = 0;
  // Returns the raw bytes of a tensor, which stay valid as long as the source.
  //   Errors: kNotFound names the tensor.
  virtual Result<std::span<const std::byte>> bytes(std::string_view tensor) const = 0;
  // Names the file that holds the tensor, for messages. If there is no such tensor, it names the
  // model's file.
  virtual std::string where(std::string_view tensor) const = 0;
  // Says that the caller has copied the tensor and no longer needs its file pages.
  virtual void drop(std::string_view tensor) const = 0;
};

// A whole model as the bytes of one GGUF file: its header, then every tensor where the header says.
// A model of several files is laid out as one. This file is what is hashed and sent.
class WholeModel : public TensorSource {
 public:
  virtual std::uint64_t file_bytes() const = 0;
  // Returns at most `bytes_max` bytes from `offset` on, as many as lie together: at least one below
  // file_bytes(). The bytes of a tensor lie together, and so do those of the header.
  virtual std::span<const std::byte> piece(std::uint64_t offset, std::uint64_t bytes_max) const = 0;
  // Says that the caller no longer needs the pages of a piece.
  virtual void drop_piece(std::span<const std::byte> piece) const = 0;
};

}  // namespace troupe::model
