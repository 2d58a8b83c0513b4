#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <troupe/model/source/tensor_source.h>

// What models of several files share (hf_folder.cpp, gguf_split.cpp): the bytes of the one GGUF
// file that they are laid out as. Its header lies in memory; its tensors lie in the model's files,
// with zeros between them. Any thread may read.

namespace troupe::model {

class LaidOutModel : public WholeModel {
 public:
  const GgufHeader& header() const override { return header_; }
  std::uint64_t file_bytes() const override { return file_bytes_; }
  std::span<const std::byte> piece(std::uint64_t offset, std::uint64_t bytes_max) const override;

 protected:
  // Must be called once, before anything else. `header_text` is what write_gguf_header makes: the
  // file's bytes before its first tensor. It is parsed again, so that values which came from files
  // are checked as in any header. `what` names the model in messages.
  Status lay_out(std::string header_text, std::uint64_t file_bytes, const std::string& what);
  // Returns the bytes of a tensor of header().
  virtual std::span<const std::byte> bytes_of(const TensorInfo& tensor) const = 0;

 private:
  std::string header_text_;
  GgufHeader header_;  // its tensors are in the order of their offsets
  std::uint64_t file_bytes_ = 0;
};

}  // namespace troupe::model
