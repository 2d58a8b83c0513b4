#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/store/store.h>

// How the store remembers a model by name, and how it lays out one of several files:
//
//   models/<name>.json     {"sha256","bytes"}, of one of several files also "files":
//                          [{"name","sha256","bytes"},...]; sha256 is the model's identity
//   folders/<listing>/     of one of several files: a link to ../../blobs/<sha256> under the name
//   of
//                          each, where <listing> is the hash of their list (listing_sha256)

namespace troupe::model {

// Letters, digits, '.', '_' and '-'; what becomes a file name.
bool is_model_name(const std::string& name);

// nullopt where there is no such entry, or no sense in it.
std::optional<ModelEntry> read_entry(const std::filesystem::path& root, const std::string& name);
Status write_entry(const std::filesystem::path& root, const ModelEntry& entry);

// Where a model of these files is opened: the folder, or the first part of a GGUF file in parts.
std::filesystem::path path_of_files(const std::filesystem::path& root,
                                    const std::vector<ModelFile>& files);
// Makes the folder of links, or mends it.
Status link_files(const std::filesystem::path& root, const std::vector<ModelFile>& files);
// The <listing> of a path that path_of_files() gave; "" for any other path.
std::string listing_of(const std::filesystem::path& root, const std::filesystem::path& path);

}  // namespace troupe::model
