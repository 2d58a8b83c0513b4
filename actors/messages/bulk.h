#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/messages/types.h>

// Weights by content hash, which the node that needs them pulls chunk by chunk.

namespace troupe::actors {

// Sent by a client that dialled us: it can be asked for blobs from now on.
struct Serving {
  static constexpr MessageType kType = MessageType::kServing;
  std::uint64_t epoch = 0;
  template <class A>
  void serialize(A& a) {
    a(epoch);
  }
};
struct FetchBlob {
  static constexpr MessageType kType = MessageType::kFetchBlob;
  std::string sha256;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;  // at most 256 KiB; the rest of the blob if less is left
  template <class A>
  void serialize(A& a) {
    a(sha256, offset, length);
  }
};
// The payload holds the chunk's bytes.
struct BlobChunk {
  static constexpr MessageType kType = MessageType::kBlobChunk;
  std::string sha256;
  std::uint64_t offset = 0;
  template <class A>
  void serialize(A& a) {
    a(sha256, offset);
  }
};
struct BlobMissing {
  static constexpr MessageType kType = MessageType::kBlobMissing;
  std::string sha256;
  std::string text;
  template <class A>
  void serialize(A& a) {
    a(sha256, text);
  }
};

}  // namespace troupe::actors
