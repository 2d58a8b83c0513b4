#pragma once

#include <cstdint>
#include <string>
#include <vector>

// The parts of a model's file by their hashes, as plain values: what the store keeps, and what
// nodes send each other so that each can fetch and verify the parts that it needs.

namespace troupe::model {

// Content-addressed bytes: a whole model file, its header, or one tensor.
struct BlobRef {
  std::string sha256;  // 64 lower-case hex digits
  std::uint64_t bytes = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(sha256, bytes);
  }
};

struct Manifest {
  std::string model;  // sha256 of the whole file: the model's identity
  std::string name;   // for people: the name in the catalogue or the store, or the file's name
  std::uint64_t file_bytes = 0;
  BlobRef header;  // the first header.bytes bytes of the file
  struct Tensor {
    std::string name;
    std::uint64_t offset = 0;  // in the file
    BlobRef blob;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(name, offset, blob);
    }
  };
  std::vector<Tensor> tensors;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(model, name, file_bytes, header, tensors);
  }
};

// True if both describe the same bytes; names for people do not count.
inline bool same_content(const Manifest& a, const Manifest& b) {
  const auto same_blob = [](const BlobRef& x, const BlobRef& y) {
    return x.sha256 == y.sha256 && x.bytes == y.bytes;
  };
  if (a.model != b.model || a.file_bytes != b.file_bytes || !same_blob(a.header, b.header) ||
      a.tensors.size() != b.tensors.size()) {
    return false;
  }
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    if (a.tensors[i].name != b.tensors[i].name || a.tensors[i].offset != b.tensors[i].offset ||
        !same_blob(a.tensors[i].blob, b.tensors[i].blob)) {
      return false;
    }
  }
  return true;
}

}  // namespace troupe::model
