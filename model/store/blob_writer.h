#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/status.h>

// Receives one blob into <root>/partial/<sha256> and moves it to <root>/blobs/<sha256> once it is
// complete and its hash is right. A blob has one writer at a time, across processes too.

namespace troupe::model {

// Takes the bytes of one blob in order. If the transfer breaks off, the bytes so far stay on the
// disk, and the next writer continues after them.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  // Returns the number of bytes on the disk: the next byte to append is the one at this offset.
  virtual std::uint64_t received() const = 0;
  virtual Status append(std::span<const std::byte> bytes) = 0;
  // Verifies the hash and moves the file into the store.
  //   Errors: kFailedPrecondition if bytes are missing; kBadData if the hash is wrong (then the
  //   partial file is removed).
  virtual Status commit() = 0;
};

// A store leaves this much of its file system free, or a twentieth of a small one, so that requests
// of others do not stop the journal, the logs, or other programs.
constexpr std::uint64_t kFreeBytesMin = 512u << 20;

// Errors: kAlreadyExists while another writer of this blob is open; kResourceExhausted if the
// missing part of the blob would leave less than kFreeBytesMin.
Result<std::unique_ptr<BlobWriter>> open_blob_writer(const std::filesystem::path& root,
                                                     const BlobRef& blob);

// Removes what interrupted transfers left in <root>/partial several days ago or earlier. A file
// that a writer holds stays.
void sweep_partial_files(const std::filesystem::path& root);

// Makes `file` read-only and durable, seals it, and moves it to `target` in the same file system.
Status move_into_store(const std::filesystem::path& file, const std::filesystem::path& target);

}  // namespace troupe::model
