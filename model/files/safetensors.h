#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// Safetensors files, alone or as the shards of a folder: memory-mapped, every size checked against
// the file before anything is allocated; and a writer for f32 tensors. Any thread may read.
//
//   u64 header bytes N | N bytes of JSON: {"name": {"dtype", "shape", "data_offsets": [begin,
//   end]},
//   ..., "__metadata__": {...}} | the tensors' bytes, little-endian, row-major, without gaps
//
// Source: the safetensors format (huggingface/safetensors, README.md).

namespace troupe::model {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;                // as the file spells it: "F32", "BF16", "I64" ...
  std::optional<quant::Type> type;  // for the dtypes that weights have: F32, F16, BF16
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // from the start of the file
  std::uint64_t bytes = 0;
};

// In the order of the file's bytes. `bytes`: at least the header of the file; `file_bytes`: the
// size of the whole file. `what` names the file.
//   Errors: kBadData naming tensor, field and value: truncation, a header that is no such JSON,
//   unknown dtypes, sizes that disagree with shapes, gaps, overlaps, repeated names.
Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::span<const std::byte> bytes,
                                                                std::uint64_t file_bytes,
                                                                const std::string& what);

// The tensors of one file, or of all the shards that a folder's model.safetensors.index.json lists.
class Safetensors {
 public:
  static Result<Safetensors> open_file(const std::filesystem::path& path);
  // model.safetensors, or the shards. kNotFound when the folder has neither.
  static Result<Safetensors> open_folder(const std::filesystem::path& folder);

  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  const SafetensorsTensor* find(std::string_view name) const;  // nullptr when absent
  // A tensor of this object; valid as long as it.
  std::span<const std::byte> bytes(const SafetensorsTensor& tensor) const;
  // The file that a tensor of this object is in.
  const std::filesystem::path& path(const SafetensorsTensor& tensor) const;
  // Lets go of the file pages of a tensor.
  void drop(const SafetensorsTensor& tensor) const;
  // The same for a part of what bytes() gave; other memory is left alone.
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

// The files that open_folder would read in `folder`: model.safetensors, or the index and its
// shards.
//   Errors: kNotFound, and kBadData for an index that is not one.
Result<std::vector<std::filesystem::path>> safetensors_files(const std::filesystem::path& folder);

struct F32Tensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::span<const float> values;  // the product of `shape`, checked
};
// Writes the file atomically, tensors in the order given.
Status write_safetensors(const std::filesystem::path& path, std::span<const F32Tensor> tensors);

}  // namespace troupe::model
