#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// Safetensors files, alone or as the shards of a folder, and a writer for f32 tensors. Files are
// memory-mapped, and every size is checked against the file before anything is allocated. Any
// thread may read.
//
//   u64 header bytes N | N bytes of JSON | the tensors' bytes, little-endian, row-major, no gaps
//   JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {...}}
//
// Source: the safetensors format (huggingface/safetensors, README.md).

namespace troupe::model {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;  // as the file spells it: "F32", "BF16", "I64" ...
  // Set for the dtypes of weights: F32, F16, BF16, F8_E4M3, F8_E5M2.
  std::optional<quant::Type> type;
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // from the start of the file
  std::uint64_t bytes = 0;
};

// Returns the tensors in the order of the file's bytes. `bytes` must hold at least the header of
// the file, and `file_bytes` is the size of the whole file. `what` names the file.
//   Errors: kBadData naming tensor, field and value for truncation, a header that is not such JSON,
//   unknown dtypes, sizes that disagree with shapes, gaps, overlaps and repeated names.
Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::span<const std::byte> bytes,
                                                                std::uint64_t file_bytes,
                                                                const std::string& what);

// The tensors of one file, or of all the shards that a folder's model.safetensors.index.json lists.
class Safetensors {
 public:
  static Result<Safetensors> open_file(const std::filesystem::path& path);
  // Opens model.safetensors, or the shards.
  //   Errors: kNotFound if the folder has neither.
  static Result<Safetensors> open_folder(const std::filesystem::path& folder);

  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  const SafetensorsTensor* find(std::string_view name) const;  // nullptr if it is absent
  // Returns the bytes of a tensor of this object. They are valid as long as the object.
  std::span<const std::byte> bytes(const SafetensorsTensor& tensor) const;
  // Returns the file that a tensor of this object is in.
  const std::filesystem::path& path(const SafetensorsTensor& tensor) const;
  // Drops the memory pages of a tensor.
  void drop(const SafetensorsTensor& tensor) const;
  // Drops the memory pages of a part of what bytes() returned. Does nothing for other memory.
  void drop_range(std::span<const std::byte> range) const;

 private:
  Status add_file(const std::filesystem::path& path);
  const MappedFile& file_of(const SafetensorsTensor& tensor) const;

  std::vector<MappedFile> files_;
  std::vector<std::filesystem::path> paths_;  // of the files
  std::vector<SafetensorsTensor> tensors_;
  std::vector<std::size_t> file_index_;  // of each tensor
  std::map<std::string, std::size_t, std::less<>> by_name_;
};

// Returns the files that open_folder would read in `folder`: model.safetensors, or the index and
// its shards.
//   Errors: kNotFound if there are none; kBadData if the index cannot be read as one.
Result<std::vector<std::filesystem::path>> safetensors_files(const std::filesystem::path& folder);

struct F32Tensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::span<const float> values;  // as many as the product of `shape`, which is checked
};
// Writes the file atomically, with the tensors in the given order.
Status write_safetensors(const std::filesystem::path& path, std::span<const F32Tensor> tensors);

}  // namespace troupe::model
