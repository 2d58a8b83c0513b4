#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/files/gguf.h>

// Where a stage finds its weights: a whole model on this machine (a GGUF file, or several, or a
// Hugging Face folder), or the header and just the tensors of some layers as content-addressed
// blobs in the store. Any thread may read.

namespace troupe::model {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const GgufHeader& header() const = 0;
  // The raw bytes of a tensor; valid as long as the source. kNotFound names the tensor.
  virtual Result<std::span<const std::byte>> bytes(std::string_view tensor) const = 0;
  // The file that holds the tensor, for messages; of a tensor that is not there, the model's.
  virtual std::string where(std::string_view tensor) const = 0;
  // The caller has copied the tensor; its file pages may go.
  virtual void drop(std::string_view tensor) const = 0;
};

// A whole model as the bytes of one GGUF file, which several files are laid out to: its header,
// then every tensor where the header says. What is hashed and sent is this file.
class WholeModel : public TensorSource {
 public:
  virtual std::uint64_t file_bytes() const = 0;
  // The bytes from `offset` on, at most `bytes_max`, as far as they lie together: never none below
  // file_bytes(). A tensor's bytes, and the header's, lie together.
  virtual std::span<const std::byte> piece(std::uint64_t offset, std::uint64_t bytes_max) const = 0;
  // The pages of a piece may go.
  virtual void drop_piece(std::span<const std::byte> piece) const = 0;
};

// A GGUF file or any part of one, memory-mapped and checked.
Result<std::unique_ptr<TensorSource>> open_gguf(const std::string& path);

// A GGUF file, any part of one in several (gguf_split.h), or a folder with config.json and
// safetensors (hf_folder.h).
//   Errors: kNotFound, kBadData naming file, field and value.
Result<std::unique_ptr<WholeModel>> open_model(const std::string& path);
// The files whose content the model at `path` depends on.
Result<std::vector<std::filesystem::path>> model_files(const std::filesystem::path& path);

}  // namespace troupe::model
