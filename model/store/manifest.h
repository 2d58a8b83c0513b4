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
  std::string model;  // the id that the parts prove (model_id.h)
  std::string name;   // for people: the name in the catalogue or the store, or the file's name
  std::uint64_t file_bytes = 0;  // in a peer's manifest, prove() sets it
  BlobRef header;                // the first header.bytes bytes of the file
  struct Tensor {
    std::string name;
    std::uint64_t offset = 0;  // in the file
    BlobRef blob;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(name, offset, blob);
    }
  };
  std::vector<Tensor> tensors;  // in the file's order
  // The hash of the whole file if this process computed it, else "". It does not travel, because a
  // process that has only parts cannot check it.
  std::string file_sha256 = {};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(model, name, file_bytes, header, tensors);
  }
};

}  // namespace troupe::model
