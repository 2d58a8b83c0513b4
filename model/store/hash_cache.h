#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/status.h>

// What a store remembers about the files that it has hashed, so that none is hashed twice:
//
//   HOME/store/hashes.json              {"DEVICE:INODE:SIZE:MTIME_NS": "SHA256 of the file"}; for a
//                                       folder {"folder:SHA256 of all its files' keys": ...}, for
//                                       one in the store {"listing:SHA256 of its files' list": ...}
//   HOME/store/manifests/<sha256>.json  the manifest of the file with that hash
//
// Both are a cache: an entry that cannot be read or parsed counts as absent. Several processes may
// write at once. Any thread may call.

namespace troupe::model {

// Returns the identity of the content of `path`: the listing for a model of several files in the
// store at `root`, otherwise what the file system says about the files.
Result<std::string> content_key(const std::filesystem::path& root,
                                const std::filesystem::path& path);

// Finds the manifest that was stored under `key`.
std::optional<Manifest> recall_manifest(const std::filesystem::path& root, const std::string& key);
// Finds a manifest by the hash of the model's file.
std::optional<Manifest> read_manifest(const std::filesystem::path& root, const std::string& sha256);
void remember_manifest(const std::filesystem::path& root, const std::string& key,
                       const Manifest& manifest);

// Reads the whole file once and computes its hash, the header's and every tensor's. A folder is
// hashed as the file that it is laid out as.
//   Errors: kBadData if it is not a model.
Result<Manifest> hash_model_file(const std::filesystem::path& path);

}  // namespace troupe::model
