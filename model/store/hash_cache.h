#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <troupe/model/store/store.h>

// What a store remembers of files that it has hashed, so that none is hashed twice:
//   HOME/store/hashes.json             {"DEVICE:INODE:SIZE:MTIME_NS": "SHA256 of the file"}; of a
//                                      folder {"folder:SHA256 of all its files' keys": ...}, of
//                                      one in the store {"listing:SHA256 of its files' list": ...}
//   HOME/store/manifests/<sha256>.json  the manifest of the file of that hash
// Both are a cache: what cannot be read or parsed is as if it were not there. Several processes may
// write at once. Any thread may call.

namespace troupe::model {

// Identity of the content of `path`: of a model of several files in the store at `root` its
// listing, of any other what the file system tells.
Result<std::string> content_key(const std::filesystem::path& root,
                                const std::filesystem::path& path);

std::optional<Manifest> recall_manifest(const std::filesystem::path& root, const std::string& key);
// By hash, without a file.
std::optional<Manifest> read_manifest(const std::filesystem::path& root, const std::string& sha256);
void remember_manifest(const std::filesystem::path& root, const std::string& key,
                       const Manifest& manifest);

// Reads the whole file once: its own hash, the header's and every tensor's.
// Of a folder, of the file that it is laid out to.
//   Errors: kBadData when it is no model.
Result<Manifest> hash_model_file(const std::filesystem::path& path);

}  // namespace troupe::model
