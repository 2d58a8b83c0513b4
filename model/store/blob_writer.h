#pragma once

#include <filesystem>
#include <memory>

#include <troupe/model/store/store.h>

// Receives one blob into <root>/partial/<sha256> and moves it to <root>/blobs/<sha256> when it is
// whole and its hash is right. One owner at a time, across processes too.

namespace troupe::model {

Result<std::unique_ptr<Store::BlobWriter>> open_blob_writer(const std::filesystem::path& root,
                                                            const BlobRef& blob);

// Makes `file` (in the same file system) read-only and durable, and moves it to `target`.
Status move_into_store(const std::filesystem::path& file, const std::filesystem::path& target);

}  // namespace troupe::model
