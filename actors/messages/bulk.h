#pragma once

#include <cstdint>
#include <string>

// Weights by content hash, pulled chunk by chunk by the one who needs them.

namespace troupe::actors {

// A client that dialled us can be asked for blobs from now on.
struct Serving {
  std::uint64_t epoch = 0;
  template <class A>
  void serialize(A& a) {
    a(epoch);
  }
};
struct FetchBlob {
  std::string sha256;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;  // at most 256 KiB; the rest of the blob when less is left
  template <class A>
  void serialize(A& a) {
    a(sha256, offset, length);
  }
};
// The bytes are the payload.
struct BlobChunk {
  std::string sha256;
  std::uint64_t offset = 0;
  template <class A>
  void serialize(A& a) {
    a(sha256, offset);
  }
};
struct BlobMissing {
  std::string sha256;
  std::string text;
  template <class A>
  void serialize(A& a) {
    a(sha256, text);
  }
};

}  // namespace troupe::actors
